"""Programs that run in environments of their own, without `sctab`: each file names its peer."""
