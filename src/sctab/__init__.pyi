from . import (
    augmentation as augmentation,
)
from . import (
    benchmark as benchmark,
)
from . import (
    corpus as corpus,
)
from . import (
    data as data,
)
from . import (
    get as get,
)
from . import (
    inference as inference,
)
from . import (
    metrics as metrics,
)
from . import (
    model as model,
)
from . import (
    nn as nn,
)
from . import (
    ontology as ontology,
)
from . import (
    pl as pl,
)
from . import (
    pp as pp,
)
from . import (
    sampling as sampling,
)
from . import (
    tl as tl,
)
from . import (
    tuning as tuning,
)
from . import (
    zoo as zoo,
)
from .errors import (
    ClusterError as ClusterError,
)
from .errors import (
    DataFileError as DataFileError,
)
from .errors import (
    GeneOverlapError as GeneOverlapError,
)
from .errors import (
    InputTypeError as InputTypeError,
)
from .errors import (
    InputValueError as InputValueError,
)
from .errors import (
    KeyNotFoundError as KeyNotFoundError,
)
from .errors import (
    LabelError as LabelError,
)
from .errors import (
    MissingDependencyError as MissingDependencyError,
)
from .errors import (
    ModelFormatError as ModelFormatError,
)
from .errors import (
    ModelNotFoundError as ModelNotFoundError,
)
from .errors import (
    NotTrainedError as NotTrainedError,
)
from .errors import (
    OutputError as OutputError,
)
from .errors import (
    OutputExistsError as OutputExistsError,
)
from .errors import (
    SctabError as SctabError,
)
from .errors import (
    SctabWarning as SctabWarning,
)
from .errors import (
    SettingError as SettingError,
)

__version__: str
