"""A hand model as a layer of the package `smplx`, for code that expects one. smplx is research-licensed: the extra `[mano]`, never on the default path."""

import contextlib
import io

import torch

from seqgen.errors import UserError
from seqgen.hand.model import HandModel
from seqgen.skeleton import MANO_PARENTS


def smplx_layer(model: HandModel, *, num_pca_comps: int | None = None, flat_hand_mean: bool = True, batch_size: int = 1) -> torch.nn.Module:
    """A `smplx.MANO`; see `HandModel.to_smplx`."""
    try:
        import smplx
        from smplx.utils import Struct
    except ImportError as error:
        raise UserError(f"to_smplx needs the package smplx ({error}): pip install 'seqgen[mano]'") from None
    if num_pca_comps is not None and not 1 <= num_pca_comps <= 45:
        raise UserError(f"num_pca_comps is {num_pca_comps}, expected 1 to 45, or None for axis-angle")
    data = Struct(
        v_template=model.template_m,
        shapedirs=model.shape_directions,
        posedirs=model.pose_directions,
        J_regressor=model.joint_regressor,
        weights=model.skinning_weights,
        f=model.faces,
        kintree_table=[list(MANO_PARENTS), list(range(16))],
        hands_components=model.pose_components,
        hands_mean=model.pose_mean,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that ten betas are few
        layer = smplx.MANO(
            model_path="",
            data_struct=data,
            is_rhand=model.side == "right",
            use_pca=num_pca_comps is not None,
            num_pca_comps=num_pca_comps or 6,
            flat_hand_mean=flat_hand_mean,
            batch_size=batch_size,
        )
    if num_pca_comps == 45:  # smplx takes that for axis-angle
        layer.use_pca = True
        layer.register_buffer("hand_components", torch.tensor(model.pose_components))
    layer.vertex_joint_selector.extra_joints_idxs = torch.tensor(model.tip_vertices, dtype=torch.long)  # smplx's own are of 778 vertices
    return layer
