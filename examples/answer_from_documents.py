"""Answer a question from a folder of texts, and say where the answer stands.

    pip install openai numpy
    pi-cluster serve --embeddings mean
    python examples/answer_from_documents.py "When is the workshop open?"

Texts are cut into paragraphs, and each becomes a vector. Those that are most like the question are
put before it. For many texts take a small model that was made for vectors, and keep what it gave.
Asks the server at OPENAI_BASE_URL, or http://127.0.0.1:8080/v1, with the key OPENAI_API_KEY.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openai

HERE = Path(__file__).parent
RULES = (
    "Answer the question from these notes alone, in a sentence or two, and name the note in "
    "brackets. If they do not say it, say that you do not know."
)


@dataclass(frozen=True)
class Paragraph:
    """A piece of a text, and where it stands."""

    source: str
    text: str


def paragraphs_in(folder: Path) -> list[Paragraph]:
    """All paragraphs of the folder's texts."""
    return [
        Paragraph(file.name, " ".join(paragraph.split()))
        for file in sorted(folder.glob("*.txt"))
        for paragraph in file.read_text(encoding="utf-8").split("\n\n")
        if paragraph.strip()
    ]


def vectors_of(client: openai.OpenAI, texts: list[str]) -> np.ndarray:
    """A row for each text, of length 1: the product of two rows says how alike they are."""
    answered = client.embeddings.create(model="any", input=texts)
    return np.array([one.embedding for one in answered.data], np.float32)


def most_alike(question: np.ndarray, vectors: np.ndarray, count: int) -> list[int]:
    """The rows that are most like the question, best first.

    What all of them have in common says nothing, so the mean is taken off.
    """
    mean = vectors.mean(axis=0)
    likeness = (vectors - mean) @ (question - mean)
    return np.argsort(-likeness)[:count].tolist()


def main() -> None:
    """Find, ask, print."""
    parser = argparse.ArgumentParser(description="Answer a question from a folder of texts.")
    parser.add_argument("question")
    parser.add_argument("--folder", type=Path, default=HERE / "documents")
    parser.add_argument("--paragraphs", type=int, default=3, help="How many are read.")
    options = parser.parse_args()
    client = openai.OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "none"),
    )
    paragraphs = paragraphs_in(options.folder)
    if not paragraphs:
        raise SystemExit(f"{options.folder} has no texts: put some .txt files there")
    # Together, so that a server reads them side by side.
    *vectors, question = vectors_of(
        client, [*(paragraph.text for paragraph in paragraphs), options.question]
    )
    found = [paragraphs[row] for row in most_alike(question, np.array(vectors), options.paragraphs)]
    notes = "\n".join(f"[{one.source}] {one.text}" for one in found)
    messages = [
        {"role": "system", "content": RULES},
        {"role": "user", "content": f"Notes:\n{notes}\n\nQuestion: {options.question}"},
    ]
    answer = client.chat.completions.create(
        model="any", messages=messages, temperature=0, max_tokens=120
    )
    print(answer.choices[0].message.content)
    print("read: " + ", ".join(dict.fromkeys(one.source for one in found)))


if __name__ == "__main__":
    main()
