"""Python code that trains a model again, from its description alone."""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping
from typing import Any

import numpy as np

from sctab.inference import ModelSpec

_LABELS = "labels_key"


def training_code(spec: ModelSpec, *, n_members: int = 1, n_sketched: int = 0) -> str:
    """Python code that trains a model again on the same cells, with all of its settings and seeds.

    Parameters
    ----------
    spec
        The model; of an ensemble its first member.
    n_members
        Members of the ensemble; 1 for a single model.
    n_sketched
        Cells of the sketch that the model keeps; 0 for none.

    Returns
    -------
    The code; empty for a model whose settings are unknown, such as a published checkpoint, or have names that no parameter has.

    Examples
    --------
    >>> from sctab.inference import read_spec
    >>> from sctab.zoo import packaged_path
    >>> training_code(read_spec(packaged_path("pbmc"))).splitlines()[-2]
    '    gradient_clip=1.0,'
    """
    settings = {name: value for name, value in spec.training.get("settings", {}).items() if value is not None}
    if "seed" not in settings:
        return ""
    if n_members > 1 and (settings := _of_ensemble(settings)) == {}:
        return ""
    names = (spec.model_class, *settings, *spec.architecture, *spec.setup)
    if not all(name.isidentifier() and not keyword.iskeyword(name) for name in names):
        return ""
    class_name = f"sctab.model.{spec.model_class}"
    model = dict(spec.architecture) if spec.is_clustering else {"n_top_genes": len(spec.features), **spec.architecture}
    setup = {name: value for name, value in spec.setup.items() if value}
    corpus = spec.training.get("corpus")
    made_of = class_name
    if n_members > 1:
        made_of, model = "sctab.model.DeepEnsemble", {"n_members": n_members, **model}
    first = [class_name] if n_members > 1 else []
    if corpus is not None:
        part = {name: corpus[name] for name in ("fraction", "fraction_by") if name in corpus}
        covariates = {"categorical_covariate_keys": keys} if (keys := setup.get("categorical_covariate_keys")) else {}
        of_ensemble = {"model_class": _Code(class_name)} if n_members > 1 else {}
        lines = [f"model = {made_of}.from_corpus({_call(['"corpus"'], of_ensemble | part | covariates | model)})"]
    else:
        what, kind = ("adata", "anndata") if spec.proteins is None and "modalities" not in setup else ("mdata", "mudata")
        labels = [_literal(setup.pop(_LABELS))] if _LABELS in setup else []
        set_up = f"setup_{kind}({_call([what, *labels], setup)})"
        lines = (
            [f"{class_name}.{set_up}", f"model = {class_name}({_call([what], model)})"]
            if n_members == 1
            else [f"model = {made_of}({_call(first, model)})", f"model.{set_up}"]
        )
    options: dict[str, Any] = {} if spec.calibration is not None or spec.is_clustering else {"calibrate": False}
    options |= {"sketch": n_sketched} if n_sketched else {}
    return "\n".join(["import sctab", "", *lines, f"model.train({_call([], settings | options)})"])


class _Code(str):
    """A string that is code."""

    __slots__ = ()


def _of_ensemble(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an ensemble whose first member has these; empty where its seed does not follow from that of the split."""
    seed = settings.get("split_seed")
    if seed is None or int(np.random.SeedSequence(seed).generate_state(1)[0]) != settings["seed"]:
        return {}
    return {name: value for name, value in settings.items() if name != "split_seed"} | {"seed": seed}


def _call(positional: list[str], named: Mapping[str, Any]) -> str:
    """Arguments, one in a line."""
    lines = [*positional, *(f"{name}={_literal(value)}" for name, value in named.items())]
    return "\n" + "".join(f"    {line},\n" for line in lines)


def _literal(value: Any) -> str:
    """A value as Python code, with double quotes."""
    match value:
        case _Code():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=not value.isprintable())
        case list() | tuple():
            return f"[{', '.join(map(_literal, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{_literal(key)}: {_literal(each)}' for key, each in value.items())}}}"
    return repr(value)
