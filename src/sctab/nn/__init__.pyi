from . import _tabnet as _tabnet
from ._autoencoder import (
    ZINBAutoencoder as ZINBAutoencoder,
    cluster_logits as cluster_logits,
    cluster_loss as cluster_loss,
    soft_assignments as soft_assignments,
    target_distribution as target_distribution,
)
from ._boosted_trees import EARLIER_TREES as EARLIER_TREES, BoostedTrees as BoostedTrees
from ._initialisation import WithoutInitialisation as WithoutInitialisation
from ._losses import (
    cross_entropy as cross_entropy,
    hierarchical_cross_entropy as hierarchical_cross_entropy,
)
from ._perceptron import (
    LinearNetwork as LinearNetwork,
    MultilayerPerceptron as MultilayerPerceptron,
    NetworkOutput as NetworkOutput,
    require_count as require_count,
)
from ._published import (
    PublishedNetwork as PublishedNetwork,
    describe_published as describe_published,
    from_published as from_published,
    subtract_means as subtract_means,
)
from ._sparse_products import csr_tensor as csr_tensor
from ._tabnet import TabNet as TabNet, TabNetOutput as TabNetOutput
from ._trees import ARRAYS as ARRAYS, Trees as Trees
from ._zinb import (
    ZINB as ZINB,
    SparseCounts as SparseCounts,
    ZINBOutput as ZINBOutput,
    sparse_zinb_loss as sparse_zinb_loss,
    zinb_loss as zinb_loss,
)
from .fast._attention import sparse_mask as sparse_mask
from .fast._sparse import (
    Precision as Precision,
    SparseNetwork as SparseNetwork,
    predict_sparse as predict_sparse,
    sparse_network as sparse_network,
)
from .portable._jax import (
    EXPORT_PLATFORMS as EXPORT_PLATFORMS,
    JAX_OPERATORS as JAX_OPERATORS,
    BatchedFunction as BatchedFunction,
    JaxMembers as JaxMembers,
    exported_function as exported_function,
)
from .portable._networks import (
    Array as Array,
    Operators as Operators,
    PortableNetwork as PortableNetwork,
    portable_network as portable_network,
)
from .portable._onnx import OPSET as OPSET, OnnxOperators as OnnxOperators

__all__ = ["LinearNetwork", "MultilayerPerceptron", "TabNet", "ZINBAutoencoder", "hierarchical_cross_entropy"]
