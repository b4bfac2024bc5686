"""Makes kubernetes_fields.json: pip install kubernetes; python kubernetes_fields.py

The fields of what deploy/kubernetes describes, with their types and whether they must be given: those of the core API from the
official client, those of an MPIJob (kubeflow.org/v2beta1) as the MPI operator's documentation gives them.
"""

import json
import pathlib
import re

from kubernetes import client

types = {}


def take(name):
    """Adds a type of the core API, and those of its fields."""
    if name in types:
        return
    model = getattr(client, name)
    types[name] = fields = {}
    required = {field.serialization_alias or name for name, field in model.model_fields.items() if field.is_required()}
    for attribute, of in model.openapi_types.items():
        field = model.attribute_map[attribute]
        fields[field] = {"type": of, "required": field in required}
    for of in model.openapi_types.values():
        for word in re.findall(r"\w+", of):
            if re.fullmatch(r"[VC]\w*\d\w+", word) and hasattr(client, word):
                take(word)


def own(name, required=(), **fields):
    """Adds a type of the operator's."""
    types[name] = {field: {"type": of, "required": field in required} for field, of in fields.items()}


def one_of(*values):
    return "one of " + " ".join(values)


take("V1Job")
take("V1PersistentVolumeClaim")
own("MPIJob", ("spec",), apiVersion="str", kind="str", metadata="V1ObjectMeta", spec="MPIJobSpec")
own("MPIJobSpec", ("mpiReplicaSpecs",), slotsPerWorker="int", runLauncherAsWorker="bool",
    launcherCreationPolicy=one_of("AtStartup", "WaitForWorkersReady"), sshAuthMountPath="str",
    mpiImplementation=one_of("OpenMPI", "Intel", "MPICH"), runPolicy="MPIRunPolicy", mpiReplicaSpecs="MPIReplicaSpecs")
own("MPIRunPolicy", cleanPodPolicy=one_of("Running", "All", "None"), ttlSecondsAfterFinished="int",
    activeDeadlineSeconds="int", backoffLimit="int", suspend="bool", schedulingPolicy="MPISchedulingPolicy")
own("MPISchedulingPolicy", minAvailable="int", queue="str", priorityClass="str")
own("MPIReplicaSpecs", ("Launcher",), Launcher="MPIReplicaSpec", Worker="MPIReplicaSpec")
own("MPIReplicaSpec", ("template",), replicas="int", restartPolicy=one_of("Never", "OnFailure", "ExitCode"),
    template="V1PodTemplateSpec")

lines = [f"  {json.dumps(name)}: {json.dumps(types[name], sort_keys=True)}" for name in sorted(types)]
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
