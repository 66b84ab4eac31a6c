"""The hub, inference components, prices, tags by the Tagging API, identity and quotas, through the real boto3."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from fmbench import PriceBook, price_in_list, price_list_query
from fmbench.simulator.aws import hub
from fmbench.simulator.aws.cbor import decoded, encoded
from fmbench.simulator.aws.speeds import served

ROLE = "arn:aws:iam::000000000000:role/made-up"
LLAMA = "meta-textgeneration-llama-2-13b-f"
NEURON = "meta-textgenerationneuron-llama-2-13b-f"


def code_of(call, **given):
    with pytest.raises(ClientError) as refused:
        call(**given)
    return refused.value.response["Error"]["Code"]


def test_the_hub_lists_its_models_in_pages(client):
    asked = {"HubName": hub.HUB, "HubContentType": "Model"}
    pages, token = [], {}
    while not pages or token:
        told = client().list_hub_contents(**asked, **token)
        pages.append([one["HubContentName"] for one in told["HubContentSummaries"]])
        token = {"NextToken": told["NextToken"]} if "NextToken" in told else {}
    assert max(map(len, pages)) == 3
    assert {LLAMA, NEURON} <= {name for page in pages for name in page}
    told = client().list_hub_contents(**asked, NameContains="neuron-llama-2-7b-f")
    assert [one["HubContentName"] for one in told["HubContentSummaries"]] == ["meta-textgenerationneuron-llama-2-7b-f"]


def test_a_models_document_is_of_jumpstarts_shape_and_says_that_it_is_made_up(client):
    asked = {"HubName": hub.HUB, "HubContentType": "Model"}
    told = client().describe_hub_content(**asked, HubContentName=NEURON)
    assert told["HubContentVersion"] == hub.VERSIONS[0]
    document = json.loads(told["HubContentDocument"])
    assert "not" in document["MadeUp"]
    assert document["GatedBucket"] is True
    assert document["HostingArtifactUri"].startswith("s3://jumpstart-private-cache-prod-us-east-1/")
    variants = document["HostingInstanceTypeVariants"]["Variants"]
    assert variants["ml.inf2.48xlarge"]["Properties"]["EnvironmentVariables"] == {"OPTION_TENSOR_PARALLEL_DEGREE": "24"}
    for given in ({"HubContentName": "nothing"}, {"HubContentName": LLAMA, "HubContentVersion": "0.0.1"}):
        assert code_of(client().describe_hub_content, **asked, **given) == "ResourceNotFound"
    older = client().describe_hub_content(**asked, HubContentName=LLAMA, HubContentVersion=hub.VERSIONS[1])
    assert older["HubContentVersion"] == hub.VERSIONS[1]


@pytest.mark.parametrize("model", hub.MODELS)
def test_every_made_up_model_fits_every_instance_type_that_it_names(model):
    document = hub.document_of(model, "us-east-1")
    variants = document["HostingInstanceTypeVariants"]["Variants"]
    environment = {one["Name"]: one["Default"] for one in document["InferenceEnvironmentVariables"]}
    source = {"S3DataSource": {"S3Uri": document["HostingArtifactUri"]}}
    for kind in document["SupportedInferenceInstanceTypes"]:
        own = variants[kind]["Properties"]["EnvironmentVariables"]
        container = {"Environment": {**environment, **own}, "ModelDataSource": source}
        assert served(kind, container, 1.0).failure is None, kind


def test_an_inference_component_is_served_beside_others(client, deployed):
    one = deployed()
    name, control, runtime = f"{one.name}-of-components", one.control, client("sagemaker-runtime")
    variant = {"VariantName": "AllTraffic", "InstanceType": "ml.g5.12xlarge", "InitialInstanceCount": 1}
    control.create_endpoint_config(EndpointConfigName=name, ExecutionRoleArn=ROLE, ProductionVariants=[variant])
    control.create_endpoint(EndpointName=name, EndpointConfigName=name)
    given = {
        "InferenceComponentName": f"{name}-a",
        "EndpointName": name,
        "VariantName": "AllTraffic",
        "Specification": {"ModelName": one.name, "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024}},
        "RuntimeConfig": {"CopyCount": 2},
    }
    assert code_of(control.create_inference_component, **given) == "ValidationException"  # not in service yet
    control.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 100})
    control.create_inference_component(**given)
    body = json.dumps({"inputs": "x", "parameters": {"max_new_tokens": 2}})
    assert code_of(runtime.invoke_endpoint, EndpointName=name, Body=body) == "ValidationError"
    chosen = {"InferenceComponentName": f"{name}-a"}
    while (told := control.describe_inference_component(**chosen))["InferenceComponentStatus"] == "Creating":
        time.sleep(0.01)
    assert (told["InferenceComponentStatus"], told["RuntimeConfig"]["CurrentCopyCount"]) == ("InService", 2)
    reply = runtime.invoke_endpoint(EndpointName=name, Body=body, **chosen)
    assert json.loads(reply["Body"].read()) == {"generated_text": "word word "}
    listed = control.list_inference_components(EndpointNameEquals=name)["InferenceComponents"]
    assert [one["InferenceComponentName"] for one in listed] == [f"{name}-a"]
    assert code_of(control.delete_endpoint, EndpointName=name) == "ValidationException"
    control.delete_inference_component(**chosen)
    while control.list_inference_components(EndpointNameEquals=name)["InferenceComponents"]:
        pass
    control.delete_endpoint(EndpointName=name)


def test_prices_are_told_for_each_of_sagemakers_parts(client):
    pricing = client("pricing")
    asked = price_list_query("ml.g5.12xlarge", "us-east-1")
    products = [text for page in pricing.get_paginator("get_products").paginate(**asked) for text in page["PriceList"]]
    assert len(products) == 4  # hosting, and what must not be taken for it
    price = price_in_list(products, instance_type="ml.g5.12xlarge", region="us-east-1", retrieved="2026-11-24")
    assert price.usd_per_hour == PriceBook.shipped().look_up("ml.g5.12xlarge", "us-east-1").usd_per_hour
    others = [*asked["Filters"], {"Type": "TERM_MATCH", "Field": "platoinstancetype", "Value": "Notebook"}]
    [notebook] = pricing.get_products(**{**asked, "Filters": others})["PriceList"]
    assert "Notebook" in notebook
    assert pricing.get_products(**price_list_query("ml.g5.12xlarge", "xx-nowhere-1"))["PriceList"] == []


def test_the_tagging_api_finds_what_carries_a_tag(aws, client, deployed):
    several = [deployed() for _ in range(4)]
    arns = {one.create(Tags=[{"Key": "fmbench:run", "Value": several[0].name}]) for one in several}
    deployed().create()
    tagging = client("resourcegroupstaggingapi")
    asked = {
        "TagFilters": [{"Key": "fmbench:run", "Values": [several[0].name]}],
        "ResourceTypeFilters": ["sagemaker:endpoint", "sagemaker:model"],
    }
    pages = list(tagging.get_paginator("get_resources").paginate(**asked))
    assert [len(page["ResourceTagMappingList"]) for page in pages] == [3, 1]
    assert {one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]} == arns
    assert tagging.get_resources(TagFilters=[{"Key": "nobody"}])["ResourceTagMappingList"] == []
    one = several[0]
    one.settled()
    one.control.delete_endpoint(EndpointName=one.name)
    one.gone()
    assert sum(len(page["ResourceTagMappingList"]) for page in tagging.get_paginator("get_resources").paginate(**asked)) == 3
    aws.fault("ghosts", times=None)
    assert sum(len(page["ResourceTagMappingList"]) for page in tagging.get_paginator("get_resources").paginate(**asked)) == 4
    aws.fault("denied", operation="GetResources")
    assert code_of(tagging.get_resources, **asked) == "AccessDeniedException"


def test_the_caller_is_a_role_that_there_is(client):
    caller = client("sts").get_caller_identity()
    assert caller["Account"] == "000000000000"
    _, name, _ = caller["Arn"].split("/")
    role = client("iam").get_role(RoleName=name)["Role"]
    assert role["Arn"] == f"arn:aws:iam::000000000000:role/{name}"
    assert code_of(client("iam").get_role, RoleName="nobody") == "NoSuchEntity"


def test_sts_names_wrong_credentials_its_own_way(client):
    assert code_of(client("sts", aws_secret_access_key="wrong").get_caller_identity) == "SignatureDoesNotMatch"
    assert code_of(client("sts", aws_access_key_id="nobody").get_caller_identity) == "InvalidClientTokenId"


def test_quotas_are_listed(client):
    pages = client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    quotas = {one["QuotaName"]: one["Value"] for page in pages for one in page["Quotas"]}
    assert quotas["ml.p5.48xlarge for endpoint usage"] == 0
    assert quotas["ml.inf2.48xlarge for endpoint usage"] == 1000


def test_what_the_offline_aws_does_not_have_is_said(client):
    assert code_of(client().list_training_jobs) == "UnknownOperationException"


@pytest.mark.parametrize(
    "value", [{}, [], None, True, 0, 23, 24, 255, 256, 70_000, 5_000_000_000, -1, -500, "", "é" * 30, {"a": [1, {"b": "c"}]}]
)
def test_cbor_reads_what_it_writes(value):
    assert decoded(encoded(value)) == value


def test_cbor_of_others_is_read_and_nonsense_refused():
    assert decoded(bytes.fromhex("bf616101ff")) == {"a": 1}  # of indefinite length
    assert decoded(bytes.fromhex("9f0102ff")) == [1, 2]
    for wrong in ("", "61", "8201", "c074", "0000", "fb3ff0000000000000"):
        with pytest.raises(ValueError, match=r"ends too early|not read here|stands behind"):
            decoded(bytes.fromhex(wrong))
