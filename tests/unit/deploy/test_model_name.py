"""Names of models are understood as people type and paste them, and nothing else is."""

import pytest

from pi_cluster.cluster.errors import HubError
from pi_cluster.deploy.models.model_name import ModelName, is_short_for

Q4 = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF:Q4_K_M"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-v0.1"),
        ("  mistralai/Mistral-7B-v0.1\n", "mistralai/Mistral-7B-v0.1"),
        ("org/repo@v1.0", "org/repo@v1.0"),
        ("org/repo@refs/pr/3", "org/repo@refs/pr/3"),
        (Q4, Q4),
        ("org/repo@main:Q8_0", "org/repo@main:Q8_0"),
        ("org/repo:model-Q8_0-00001-of-00002.gguf", "org/repo:model-Q8_0-00001-of-00002.gguf"),
        ("hf.co/org/repo:Q4_K_M", "org/repo:Q4_K_M"),
        ("huggingface.co/org/repo", "org/repo"),
        ("https://huggingface.co/org/repo", "org/repo"),
        ("https://huggingface.co/org/repo/", "org/repo"),
        ("http://www.huggingface.co/org/repo?library=transformers#usage", "org/repo"),
        ("https://huggingface.co/org/repo/tree/main", "org/repo"),
        ("https://huggingface.co/org/repo/tree/v2", "org/repo@v2"),
        ("https://huggingface.co/org/repo/tree/refs%2Fpr%2F7", "org/repo@refs/pr/7"),
        ("https://huggingface.co/org/repo/discussions", "org/repo"),
        ("https://huggingface.co/org/repo/blob/main/config.json", "org/repo"),
        ("https://huggingface.co/org/repo/blob/main/in/a-Q8_0.gguf", "org/repo:a-Q8_0.gguf"),
        (
            "https://huggingface.co/org/repo/resolve/v2/a-Q8_0.gguf?download=true",
            "org/repo@v2:a-Q8_0.gguf",
        ),
    ],
)
def test_a_name_is_understood_however_it_is_written(text, meant):
    name = ModelName.parse(text)
    assert str(name) == meant
    assert ModelName.parse(meant) == name


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "llama3",
            "gpt2",
            "llama3.2:1b",
            "a/b/c",
            "../b",
            "a/..",
            "a/.hidden",
            "/a/b",
            "a/b/",
        ),
        *("-x/y", "--help/x", "a b/c", "a/b@", "a/b:", "a/b@../x", "a/b@x..y", "a--b/c", "a/b\n/c"),
        *("ä/b", "a/b@x:y:z", "a/b\x1b[31m", "x" * 300 + "/y", "a/" + "b" * 600),
        *("https://example.org/a/b", "ftp://huggingface.co/a/b", "https://huggingface.co/"),
        *("https://huggingface.co/datasets/a/b", "https://huggingface.co/spaces/a/b"),
        *("https://huggingface.co/../../etc/passwd", "hf.co/a", "https://huggingface.co@evil/a/b"),
    ],
)
def test_what_is_no_name_is_refused_with_the_form_of_one(text):
    with pytest.raises(HubError, match=r"ORG/REPO as on huggingface\.co") as refused:
        ModelName.parse(text)
    assert "\x1b" not in str(refused.value) and len(str(refused.value)) < 400


def test_different_names_have_different_folders_that_are_one_level_deep():
    texts = [
        *("a/b", "a/b@c", "a/b:c", "a/b@c:d", "a/b@c/d", "a/b_c", "a_b/c", "a/b-c", "a-b/c"),
        *("a/b@refs/pr/1", "a/b@refs_pr_1"),
    ]
    folders = {ModelName.parse(text).folder_name for text in texts}
    assert len(folders) == len(texts)
    assert not any("/" in folder or folder.startswith(".") for folder in folders)


@pytest.mark.parametrize(
    ("said", "is_meant"),
    [
        *((text, True) for text in (Q4, Q4.lower(), Q4.partition(":")[0])),
        *((f"{Q4.partition(':')[0]}{rest}", False) for rest in (":Q8_0", "@v1")),
        ("other/SmolLM2-135M-Instruct-GGUF", False),
    ],
)
def test_a_name_means_those_that_say_no_less(said, is_meant):
    assert ModelName.parse(said).means(ModelName.parse(Q4)) == is_meant


@pytest.mark.parametrize(
    ("said", "is_meant"),
    [
        ("smollm2-135m-instruct-gguf", True),
        ("SmolLM2-135M-Instruct-GGUF:q4_k_m", True),
        ("smollm2-135m-instruct-gguf:Q8_0", False),
        ("smollm2", False),
        (Q4, False),
    ],
)
def test_a_repositorys_own_name_is_short_for_the_whole(said, is_meant):
    assert is_short_for(said, ModelName.parse(Q4)) == is_meant
