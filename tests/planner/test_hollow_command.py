import json

import pytest

from tests.tiny_models import write_model


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path, "llama")


def test_it_says_what_was_written_and_what_comes_next(sizeup, model, tmp_path):
    folder = tmp_path / "hollow"
    code, out, err = sizeup("hollow", model, folder, "--format", "json")
    assert code == 0
    made = json.loads(out)
    assert (made["model"], made["folder"]) == (model, str(folder))
    assert (made["architecture"], made["dtype"]) == ("LlamaForCausalLM", "float32")
    files = [path.stat() for path in folder.iterdir()]
    assert made["apparent_bytes"] == sum(file.st_size for file in files)
    assert made["disk_bytes"] == sum(file.st_blocks * 512 for file in files)
    assert f"from_pretrained('{folder}')" in err
    assert "sizeup run --gpu" in err


def test_it_is_measured_as_the_model_that_it_was_made_from(sizeup, model, tmp_path):
    from profiler.spec import TrialSpec

    sizeup("hollow", model, tmp_path / "hollow")
    spec = TrialSpec.parse({"model": str(tmp_path / "hollow")})
    assert (spec.model, spec.task) == (str(tmp_path / "hollow"), "causal-lm")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gtp2", "did you mean gpt2?"),
        ("whisper-tiny", "is a speech-seq2seq model, which is not measurable yet"),
        ("./nowhere", "no folder './nowhere'"),
    ],
)
def test_a_model_that_cannot_be_had_is_a_sentence(refusal, tmp_path, name, said):
    code, sentence = refusal("hollow", name, tmp_path / "hollow")
    assert code == 2
    assert said in sentence
    assert not (tmp_path / "hollow").exists()


def test_a_folder_that_may_not_be_written_is_a_sentence(refusal, model, tmp_path):
    (tmp_path / "mine.txt").touch()
    code, sentence = refusal("hollow", model, tmp_path, "--force")
    assert code == 2
    assert "which is no part of a hollow checkpoint" in sentence
