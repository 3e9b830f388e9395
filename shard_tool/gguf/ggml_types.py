"""The formats that tensors of a GGUF have, and what becomes of each in a store.

Sizes are those of ggml (ggml.h and ggml-common.h, llama.cpp). Numbers that it has given up are not
listed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One format: rows are cut into blocks of ``block_columns`` weights in ``block_bytes`` bytes.

    ``kept_as`` is the store's format that holds the same values, None where there is none.
    ``rounded_to`` is the one that a tensor of blocks is rounded to, and is otherwise None.
    """

    number: int
    name: str
    block_columns: int
    block_bytes: int
    kept_as: str | None = None
    rounded_to: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the weights are ordinary floating-point numbers, not quantised."""
        return self.name in ("F32", "F16", "BF16")

    @property
    def is_read(self) -> bool:
        """Whether a store can be made of tensors in this format."""
        return self.is_plain or bool(self.kept_as or self.rounded_to)

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row; ``columns`` must be whole blocks."""
        return columns // self.block_columns * self.block_bytes


TYPES = {
    type_.number: type_
    for type_ in (
        GgmlType(0, "F32", 1, 4),
        GgmlType(1, "F16", 1, 2),
        GgmlType(2, "Q4_0", 32, 18, kept_as="q4"),
        GgmlType(3, "Q4_1", 32, 20, kept_as="q4_1"),
        GgmlType(6, "Q5_0", 32, 22, kept_as="q8"),
        GgmlType(7, "Q5_1", 32, 24, rounded_to="q8"),
        GgmlType(8, "Q8_0", 32, 34, kept_as="q8"),
        GgmlType(9, "Q8_1", 32, 36),
        GgmlType(10, "Q2_K", 256, 84),
        GgmlType(11, "Q3_K", 256, 110),
        GgmlType(12, "Q4_K", 256, 144, kept_as="q4k"),
        GgmlType(13, "Q5_K", 256, 176, rounded_to="q8"),
        GgmlType(14, "Q6_K", 256, 210, rounded_to="q8"),
        GgmlType(15, "Q8_K", 256, 292),
        GgmlType(16, "IQ2_XXS", 256, 66),
        GgmlType(17, "IQ2_XS", 256, 74),
        GgmlType(18, "IQ3_XXS", 256, 98),
        GgmlType(19, "IQ1_S", 256, 50),
        GgmlType(20, "IQ4_NL", 32, 18, kept_as="q4n"),
        GgmlType(21, "IQ3_S", 256, 110),
        GgmlType(22, "IQ2_S", 256, 82),
        GgmlType(23, "IQ4_XS", 256, 136),
        GgmlType(24, "I8", 1, 1),
        GgmlType(25, "I16", 1, 2),
        GgmlType(26, "I32", 1, 4),
        GgmlType(27, "I64", 1, 8),
        GgmlType(28, "F64", 1, 8),
        GgmlType(29, "IQ1_M", 256, 56),
        GgmlType(30, "BF16", 1, 2),
        GgmlType(34, "TQ1_0", 256, 54),
        GgmlType(35, "TQ2_0", 256, 66),
        GgmlType(39, "MXFP4", 32, 17),
        GgmlType(40, "NVFP4", 64, 36),
        GgmlType(41, "Q1_0", 128, 18),
    )
}
