"""Configurations in the seed's forms: where files are looked for, what is asked for, and what is refused."""

import json

import pytest
import yaml

from fmbench import ConfigError, load_config
from fmbench.deployers import JumpStart, SageMakerEndpoint

ROWS = [{"input": f"What is {n}?", "context": "word " * n, "language": "en" if n % 5 else "fr"} for n in range(1, 40)]
GIVEN = {"do_sample": True, "temperature": 0.1, "max_new_tokens": 9, "truncate": "at-prompt-token-length"}
ENTRY = {"model_id": "m", "ep_name": "ep", "instance_type": "ml.g5.12xlarge", "deploy": True}


@pytest.fixture(autouse=True)
def aws_region(monkeypatch):
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def word_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    counter = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    counter.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    counter.save(str(folder / "tokenizer.json"))


def written(folder, document, *, seed_folders=True):
    data = folder / "data" / "dataset" if seed_folders else folder
    prompts = folder / "data" / "prompts" if seed_folders else folder
    for place in (data, prompts):
        place.mkdir(parents=True, exist_ok=True)
    (data / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    (prompts / "t.txt").write_text("{context} {question}", encoding="utf-8")
    word_tokenizer(folder / "llama2_tokenizer")
    path = folder / "c.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def first_form(**more):
    return {
        "aws": {"region": "eu-west-1", "sagemaker_execution_role": "arn:aws:iam::000000000000:role/r"},
        "dataset": {"file": "rows.jsonl"},
        "prompt": {"language": "en", "template_file": "t.txt", "min_length_in_tokens": 10, "max_length_in_tokens": 30},
        "inference_parameters": GIVEN,
        "models": [ENTRY | {"concurrency": 3, "env": {"OPTION_DTYPE": "fp16"}}, {"ep_name": "there", "deploy": False}],
    } | more


def second_form(**more):
    spans = [{"language": "en", "min_length_in_tokens": low, "max_length_in_tokens": low + 10} for low in (1, 11)]
    return {
        "prompt": {"template_file": "t.txt"},
        "datasets": [one | {"payload_file": "payload_{lang}_{min}-{max}.jsonl"} for one in spans],
        "inference_parameters": GIVEN,
        "experiments": [ENTRY | {"name": "first", "payload_files": ["payload_en_11-21.jsonl"], "concurrency_levels": [1, 2]}],
    } | more


@pytest.mark.parametrize("seed_folders", [True, False])
def test_the_first_form_has_one_concurrency_for_each_model(tmp_path, seed_folders):
    benchmark = load_config(written(tmp_path, first_form(), seed_folders=seed_folders))
    first, second = benchmark._asked
    made = first.deployment.deployer
    assert isinstance(made, JumpStart)
    assert (made.model_id, made.instance_type, made.region, made.name) == ("m", "ml.g5.12xlarge", "eu-west-1", "ep")
    assert (made.role, dict(made.env)) == ("arn:aws:iam::000000000000:role/r", {"OPTION_DTYPE": "fp16"})
    assert second.deployment.deployer == SageMakerEndpoint("there", name="there", region="eu-west-1")
    assert (first.load.n, second.load.n) == (3, 1)
    prompts = list(first.prompts.source)
    assert prompts
    assert all(10 <= prompt.tokens <= 30 for prompt in prompts)
    assert first.parameters.truncate == "at-prompt-token-length"


def test_the_second_form_is_the_product_of_levels_and_payload_files(tmp_path):
    one, two = load_config(written(tmp_path, second_form()))._asked
    assert (one.load.n, two.load.n) == (1, 2)
    assert one.prompts is two.prompts
    assert one.prompts.name == "en 11-21"
    assert one.deployment.name == "first"


def test_benchmarks_own_keys_may_stand_beside_the_seeds(tmp_path):
    benchmark = load_config(written(tmp_path, second_form(max_usd=5, slo={"latency_p95_seconds": 5}, reporters=["json"])))
    assert benchmark._limits.max_usd == 5
    assert [type(one).__name__ for _, one in benchmark._reporters] == ["SeedFiles", "Json"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (second_form(modles=[]), r"c\.yml:\d+: there is no key 'modles' .*did you mean 'models'"),
        (second_form(loads=[1]), "there is no key 'loads'"),
        (second_form(aws={"regoin": "x"}), "aws has no key 'regoin'; did you mean 'region'"),
        (second_form(experiments=[ENTRY | {"concurency_levels": [1]}]), "experiments has no key 'concurency_levels'"),
        (second_form(experiments=[ENTRY | {"payload_files": ["payload_en_1-99.jsonl"]}]), "no entry of datasets makes"),
        (second_form(experiments=[ENTRY | {"concurrency_levels": [0]}]), "must be 1 or more, not 0"),
        (second_form(experiments=[ENTRY | {"concurrency_levels": ["two"]}]), "must be a whole number"),
        (second_form(experiments=[{"name": "n", "model_id": "m", "deploy": False}]), "n: ep_name is missing"),
        (second_form(experiments=[ENTRY | {"instance_type": "ml.g5.13xlarge"}]), "ep: JumpStart: instance_type: there is no"),
        (
            second_form(experiments=[ENTRY | {"env": {"OPTION_TENSOR_PARALLEL_DEGREE": "8"}}]),
            "8 is more than the 4 GPUs",
        ),
        (second_form(experiments=[]), "experiments: there are none, and no models either"),
        (first_form(dataset={"file": "no.jsonl"}), "file: no.jsonl is neither in .*dataset nor in"),
        (first_form(prompt={"template_file": "no.txt"}), "template_file: no.txt is neither in"),
        (first_form(prompt={}), "template_file is missing"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, document, told):
    with pytest.raises(ConfigError, match=told) as refused:
        load_config(written(tmp_path, document))
    assert "\n" not in str(refused.value)


def test_a_missing_tokenizer_is_told(tmp_path):
    path = written(tmp_path, first_form())
    (tmp_path / "llama2_tokenizer" / "tokenizer.json").unlink()
    (tmp_path / "llama2_tokenizer").rmdir()
    with pytest.raises(ConfigError, match="llama2_tokenizer: put the tokenizer's files into it"):
        load_config(path)
