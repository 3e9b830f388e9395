"""Which families are read, by the names that their checkpoints give themselves."""

from pi_cluster.transformer.config_faults import as_json
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families import llama, mistral, qwen2, qwen3, smollm3
from pi_cluster.transformer.families.family import Family
from pi_cluster.transformer.families.other_architectures import what_it_needs

FAMILIES: tuple[Family, ...] = (
    llama.FAMILY,
    mistral.FAMILY,
    mistral.MINISTRAL,
    qwen2.FAMILY,
    qwen3.FAMILY,
    smollm3.FAMILY,
)

_BY_ARCHITECTURE = {family.architecture: family for family in FAMILIES}
_BY_TYPE = {family.model_type: family for family in FAMILIES}
_BY_GGUF = {
    name: family for family in FAMILIES if family.gguf for name in family.gguf.architectures
}


def family_of(architecture: str, file_name: str) -> Family:
    """The family that ``config.json`` names; raises ``UnsupportedModel`` for one that is not read.

    The sentence says what such a model would need, where that is known, and which ones are read.
    """
    if family := _BY_ARCHITECTURE.get(architecture):
        return family
    raise _refusal(file_name, architecture, sorted(_BY_ARCHITECTURE))


def family_of_type(model_type: str, file_name: str) -> Family:
    """As ``family_of``, by ``model_type``, for a file that names no architecture."""
    if family := _BY_TYPE.get(model_type):
        return family
    raise _refusal(file_name, f"model_type {model_type}", sorted(_BY_TYPE))


def family_of_gguf(architecture: str, file_name: str) -> Family:
    """As ``family_of``, by ``general.architecture`` of a GGUF; the family has a ``gguf``."""
    if family := _BY_GGUF.get(architecture):
        return family
    raise _refusal(file_name, architecture, sorted(_BY_GGUF))


def _refusal(file_name: str, name: str, read: list[str]) -> UnsupportedModel:
    needs = what_it_needs(name.removeprefix("model_type "))
    why = f": it needs {needs}, which is not computed here" if needs else ""
    return UnsupportedModel(
        f"{file_name}: architecture {as_json(name)} is not supported{why}. "
        f"Supported are {', '.join(read[:-1])} and {read[-1]}"
    )
