"""What the Python client does with a cluster. Every function here that is called step_* is one step, in this order;
told in the Test Anything Protocol (testanything.org)."""

import io
import os
import queue
import tarfile
import tempfile
import threading
import time
import traceback

from kubernetes import client, config, dynamic, informer, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic.exceptions import ConflictError
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

NAMESPACE = "python"
PATIENCE = 60
POD = "web"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "kites.python.example.com"},
    "spec": {
        "group": "python.example.com",
        "scope": "Namespaced",
        "names": {"kind": "Kite", "listKind": "KiteList", "plural": "kites", "singular": "kite"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "colour": {"type": "string", "default": "red"},
                                    "length": {"type": "integer", "maximum": 100},
                                },
                            },
                            "status": {"type": "object", "properties": {"flying": {"type": "boolean"}}},
                        },
                    }
                },
            }
        ],
    },
}


def core():
    return client.CoreV1Api()


def apps():
    return client.AppsV1Api()


def refused(code, call, *args, **kwargs):
    """It must fail with this status."""
    try:
        answer = call(*args, **kwargs)
    except ApiException as error:
        assert error.status == code, f"{error.status} instead of {code}: {error.body}"
        return error
    raise AssertionError(f"it did not fail: {answer}")


def wait_for(call, condition, **kwargs):
    """The first object that a watch shows which satisfies the condition."""
    watcher = watch.Watch()
    for event in watcher.stream(call, timeout_seconds=PATIENCE, **kwargs):
        if condition(event):
            watcher.stop()
            return event["object"]
    raise AssertionError(f"not within {PATIENCE} seconds")


def pod(name, image, *words):
    container = client.V1Container(name="main", image=image, command=list(words) or None)
    if not words:
        container.args = ["netexec", "--http-port=8080"]
        container.readiness_probe = client.V1Probe(
            http_get=client.V1HTTPGetAction(path="/healthz", port=8080), period_seconds=1
        )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels={"app": name}),
        spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=0),
    )


def step_versions_and_discovery():
    assert client.VersionApi().get_code().git_version.startswith("v1.37"), client.VersionApi().get_code()
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= groups, groups
    assert "pods/exec" in {resource.name for resource in core().get_api_resources().resources}


def step_typed_create_read_and_list():
    core().create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    for number in range(5):
        core().create_namespaced_config_map(
            NAMESPACE,
            client.V1ConfigMap(
                metadata=client.V1ObjectMeta(name=f"page-{number}", labels={"book": "one"}), data={"n": str(number)}
            ),
        )
    assert core().read_namespaced_config_map("page-3", NAMESPACE).data == {"n": "3"}
    names, token = [], None
    while True:
        page = core().list_namespaced_config_map(NAMESPACE, label_selector="book=one", limit=2, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"page-{number}" for number in range(5)], names
    chosen = core().list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=page-2").items
    assert [item.metadata.name for item in chosen] == ["page-2"], chosen


def step_errors_are_api_exceptions():
    assert "already exists" in refused(409, core().create_namespace, {"metadata": {"name": NAMESPACE}}).body
    assert refused(404, core().read_namespaced_pod, "none", NAMESPACE).reason == "Not Found"
    refused(422, core().create_namespaced_config_map, NAMESPACE, {"metadata": {"name": "Not A Name"}})


def step_patches_and_replacement():
    core().patch_namespaced_config_map("page-0", NAMESPACE, {"data": {"more": "1"}})
    core().patch_namespaced_config_map("page-0", NAMESPACE, [{"op": "remove", "path": "/data/n"}])
    changed = core().read_namespaced_config_map("page-0", NAMESPACE)
    assert changed.data == {"more": "1"}, changed.data
    stale = core().read_namespaced_config_map("page-0", NAMESPACE)
    changed.data["more"] = "2"
    core().replace_namespaced_config_map("page-0", NAMESPACE, changed)
    refused(409, core().replace_namespaced_config_map, "page-0", NAMESPACE, stale)


def step_dry_run_and_delete_collection():
    core().create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "dry"}}, dry_run="All")
    refused(404, core().read_namespaced_config_map, "dry", NAMESPACE)
    core().delete_namespaced_config_map("page-4", NAMESPACE)
    core().delete_collection_namespaced_config_map(NAMESPACE, label_selector="book=one")
    assert not core().list_namespaced_config_map(NAMESPACE, label_selector="book=one").items


def step_watch_from_a_resource_version():
    version = core().list_namespaced_secret(NAMESPACE).metadata.resource_version
    core().create_namespaced_secret(NAMESPACE, {"metadata": {"name": "watched"}, "stringData": {"a": "b"}})
    core().patch_namespaced_secret("watched", NAMESPACE, {"stringData": {"a": "c"}})
    core().delete_namespaced_secret("watched", NAMESPACE)
    seen, watcher = [], watch.Watch()
    for event in watcher.stream(
        core().list_namespaced_secret, NAMESPACE, resource_version=version, timeout_seconds=PATIENCE
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            watcher.stop()
    assert seen == [("ADDED", "watched"), ("MODIFIED", "watched"), ("DELETED", "watched")], seen


def step_watch_from_the_far_past_expires_or_replays():
    events = watch.Watch().stream(core().list_namespaced_secret, NAMESPACE, resource_version="1", timeout_seconds=2)
    try:
        list(events)
    except ApiException as error:
        assert error.status == 410, error


def step_informer_follows():
    added, deleted = queue.Queue(), queue.Queue()
    shared = informer.SharedInformer(core().list_namespaced_config_map, namespace=NAMESPACE, label_selector="by=hand")
    shared.add_event_handler("ADDED", lambda item: added.put(item.metadata.name))
    shared.add_event_handler("DELETED", lambda item: deleted.put(item.metadata.name))
    shared.start()
    core().create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "seen", "labels": {"by": "hand"}}})
    assert added.get(timeout=PATIENCE) == "seen"
    core().delete_namespaced_config_map("seen", NAMESPACE)
    assert deleted.get(timeout=PATIENCE) == "seen"
    shared.stop()


def step_deployment_rolls_out():
    labels = {"app": "rolled"}
    template = pod("rolled", os.environ["AGNHOST"], "/agnhost", "pause")
    apps().create_namespaced_deployment(
        NAMESPACE,
        client.V1Deployment(
            metadata=client.V1ObjectMeta(name="rolled"),
            spec=client.V1DeploymentSpec(
                replicas=2,
                selector=client.V1LabelSelector(match_labels=labels),
                template=client.V1PodTemplateSpec(metadata=template.metadata, spec=template.spec),
            ),
        ),
    )
    of_name = {"namespace": NAMESPACE, "field_selector": "metadata.name=rolled"}
    wait_for(apps().list_namespaced_deployment, lambda e: e["object"].status.ready_replicas == 2, **of_name)
    apps().patch_namespaced_deployment_scale("rolled", NAMESPACE, {"spec": {"replicas": 1}})
    wait_for(apps().list_namespaced_deployment, lambda e: e["object"].status.replicas == 1, **of_name)
    assert apps().read_namespaced_deployment_scale("rolled", NAMESPACE).spec.replicas == 1
    apps().delete_namespaced_deployment("rolled", NAMESPACE, propagation_policy="Foreground")
    wait_for(apps().list_namespaced_deployment, lambda e: e["type"] == "DELETED", **of_name)


def step_pod_runs():
    core().create_namespaced_pod(NAMESPACE, pod(POD, os.environ["AGNHOST"]))

    def ready(event):
        conditions = event["object"].status.conditions or []
        return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)

    wait_for(core().list_namespaced_pod, ready, namespace=NAMESPACE, field_selector=f"metadata.name={POD}")


def run(*words, **options):
    flags = {"stdin": False, "stdout": True, "stderr": True, "tty": False} | options
    return stream(core().connect_get_namespaced_pod_exec, POD, NAMESPACE, command=list(words), **flags)


def step_exec_gives_output_and_exit_code():
    assert run("echo", "hello") == "hello\n"
    session = run("sh", "-c", "echo out; echo err >&2; exit 7", _preload_content=False)
    session.run_forever(timeout=PATIENCE)
    assert session.read_stdout() == "out\n" and session.read_stderr() == "err\n"
    assert session.returncode == 7, session.returncode


def step_exec_with_input():
    session = run("sh", stdin=True, _preload_content=False)
    session.write_stdin("echo $((6 * 7))\n")
    assert session.readline_stdout(timeout=PATIENCE) == "42"
    session.write_stdin("exit 0\n")
    session.run_forever(timeout=PATIENCE)
    assert session.returncode == 0, session.returncode


def step_exec_with_a_terminal():
    session = run("sh", stdin=True, stderr=False, tty=True, _preload_content=False)
    session.write_channel(4, '{"Width": 123, "Height": 45}')
    session.write_stdin("stty size; exit\n")
    session.run_forever(timeout=PATIENCE)
    assert "45 123" in session.read_stdout(), session.read_stdout()


def step_exec_copies_an_archive():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        content = os.urandom(300_000)
        entry = tarfile.TarInfo("copied")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    size = len(packed.getvalue())
    session = run("sh", "-c", f"head -c {size} | tar xf - -C /tmp", stdin=True, _preload_content=False, binary=True)
    session.write_stdin(packed.getvalue())
    session.run_forever(timeout=PATIENCE)
    session = run("cat", "/tmp/copied", _preload_content=False, binary=True)
    session.run_forever(timeout=PATIENCE)
    assert session.read_stdout() == content


def step_attach():
    core().create_namespaced_pod(
        NAMESPACE,
        client.V1Pod(
            metadata=client.V1ObjectMeta(name="echo"),
            spec=client.V1PodSpec(
                restart_policy="Never",
                containers=[
                    client.V1Container(name="main", image=os.environ["BUSYBOX"], command=["cat"], stdin=True)
                ],
            ),
        ),
    )
    of_name = {"namespace": NAMESPACE, "field_selector": "metadata.name=echo"}
    wait_for(core().list_namespaced_pod, lambda e: e["object"].status.phase == "Running", **of_name)
    session = stream(
        core().connect_get_namespaced_pod_attach,
        "echo",
        NAMESPACE,
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    session.write_stdin("over\n")
    assert session.readline_stdout(timeout=PATIENCE) == "over"
    session.close()


def step_port_forward():
    forward = portforward(core().connect_get_namespaced_pod_portforward, POD, NAMESPACE, ports="8080")
    connection = forward.socket(8080)
    connection.setblocking(True)
    connection.settimeout(PATIENCE)
    connection.sendall(b"GET /echo?msg=forwarded HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = b""
    while data := connection.recv(4096):
        answer += data
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"forwarded"), answer
    assert forward.error(8080) is None, forward.error(8080)


def step_port_forward_tells_of_a_closed_port():
    forward = portforward(core().connect_get_namespaced_pod_portforward, POD, NAMESPACE, ports="9")
    connection = forward.socket(9)
    connection.setblocking(True)
    connection.settimeout(PATIENCE)
    assert connection.recv(1) == b""
    assert "refused" in forward.error(9), forward.error(9)


def step_proxies_of_services_and_pods():
    core().create_namespaced_service(
        NAMESPACE, {"metadata": {"name": POD}, "spec": {"selector": {"app": POD}, "ports": [{"port": 8080}]}}
    )
    discovery = client.DiscoveryV1Api()
    wait_for(
        discovery.list_namespaced_endpoint_slice,
        lambda e: any(endpoint.conditions.ready for endpoint in e["object"].endpoints or []),
        namespace=NAMESPACE,
        label_selector=f"kubernetes.io/service-name={POD}",
    )
    assert core().connect_get_namespaced_service_proxy_with_path(f"{POD}:8080", NAMESPACE, "hostname") == POD
    assert core().connect_get_namespaced_pod_proxy_with_path(f"{POD}:8080", NAMESPACE, "hostname") == POD


def step_logs():
    words = "for n in 1 2 3; do echo line $n; done; sleep 1; echo last"
    talker = pod("talker", os.environ["BUSYBOX"], "sh", "-c", words)
    talker.spec.restart_policy = "Never"
    core().create_namespaced_pod(NAMESPACE, talker)
    of_name = {"namespace": NAMESPACE, "field_selector": "metadata.name=talker"}
    wait_for(core().list_namespaced_pod, lambda e: e["object"].status.phase in ("Running", "Succeeded"), **of_name)
    lines = list(watch.Watch().stream(core().read_namespaced_pod_log, "talker", NAMESPACE))
    assert lines == ["line 1", "line 2", "line 3", "last"], lines
    assert core().read_namespaced_pod_log("talker", NAMESPACE, tail_lines=1) == "last\n"


def step_eviction():
    core().create_namespaced_pod_eviction(
        "talker", NAMESPACE, client.V1Eviction(metadata=client.V1ObjectMeta(name="talker", namespace=NAMESPACE))
    )
    names = lambda: [item.metadata.name for item in core().list_namespaced_pod(NAMESPACE).items]
    until = time.monotonic() + PATIENCE
    while "talker" in names():
        assert time.monotonic() < until, names()
        time.sleep(0.1)


def kites():
    return dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="python.example.com/v1", kind="Kite")


def step_custom_resources_by_the_dynamic_client():
    definitions = client.ApiextensionsV1Api()
    definitions.create_custom_resource_definition(CRD)

    def established(event):
        conditions = event["object"].status.conditions or []
        return any(condition.type == "Established" and condition.status == "True" for condition in conditions)

    wait_for(
        definitions.list_custom_resource_definition,
        established,
        field_selector="metadata.name=kites.python.example.com",
    )
    kite = {"apiVersion": "python.example.com/v1", "kind": "Kite", "metadata": {"name": "one"}, "spec": {"length": 9}}
    created = kites().create(body=kite, namespace=NAMESPACE)
    assert created.spec.colour == "red", created
    changed = kites().patch(
        name="one",
        namespace=NAMESPACE,
        body={"spec": {"length": 10}},
        content_type="application/merge-patch+json",
    )
    assert changed.spec.length == 10, changed
    assert [item.metadata.name for item in kites().get(namespace=NAMESPACE).items] == ["one"]
    kites().status.patch(
        name="one",
        namespace=NAMESPACE,
        body={"status": {"flying": True}},
        content_type="application/merge-patch+json",
    )
    assert kites().get(name="one", namespace=NAMESPACE).status.flying is True


def step_custom_objects_api():
    api, where = client.CustomObjectsApi(), ("python.example.com", "v1", NAMESPACE, "kites")
    refused(422, api.create_namespaced_custom_object, *where, {
        "apiVersion": "python.example.com/v1",
        "kind": "Kite",
        "metadata": {"name": "long"},
        "spec": {"length": 101},
    })
    watcher = watch.Watch()
    for event in watcher.stream(api.list_namespaced_custom_object, *where, timeout_seconds=PATIENCE):
        assert event["object"]["metadata"]["name"] == "one", event
        watcher.stop()
    assert len(api.list_namespaced_custom_object(*where)["items"]) == 1


def step_server_side_apply():
    def apply(manager, length, force=False):
        body = {
            "apiVersion": "python.example.com/v1",
            "kind": "Kite",
            "metadata": {"name": "applied"},
            "spec": {"length": length},
        }
        return kites().server_side_apply(
            body=body, namespace=NAMESPACE, field_manager=manager, force_conflicts=force
        )

    apply("left", 1)
    try:
        apply("right", 2)
        raise AssertionError("no conflict")
    except ConflictError as error:
        assert "conflict with" in str(error.body) and "left" in str(error.body), error.body
    applied = apply("right", 2, force=True)
    assert applied.spec.length == 2, applied
    managers = [(entry.manager, entry.operation) for entry in applied.metadata.managedFields]
    assert managers == [("right", "Apply")], managers


def step_dynamic_watch_with_initial_events():
    seen = []
    for event in kites().watch(
        namespace=NAMESPACE,
        timeout=2,
        allow_watch_bookmarks=True,
        send_initial_events=True,
        resource_version_match="NotOlderThan",
    ):
        seen.append(event["type"])
        if event["type"] == "BOOKMARK":
            assert event["raw_object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true", event
            break
    assert seen == ["ADDED", "ADDED", "BOOKMARK"], seen


def step_create_from_yaml():
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\n"
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: second}\nspec: {suspend: true, template: "
        "{spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        utils.create_from_yaml(client.ApiClient(), file.name, namespace=NAMESPACE)
    assert client.BatchV1Api().read_namespaced_job("second", NAMESPACE).spec.suspend is True


def step_token_and_access_review():
    core().create_namespaced_service_account(NAMESPACE, {"metadata": {"name": "robot"}})
    request = client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=["https://kubernetes.default.svc.cluster.local"], expiration_seconds=600)
    )
    token = core().create_namespaced_service_account_token("robot", NAMESPACE, request).status.token
    settings = client.Configuration.get_default_copy()
    settings.cert_file = settings.key_file = None
    settings.api_key = {"authorization": f"Bearer {token}"}
    robot = client.ApiClient(settings)
    me = client.AuthenticationV1Api(robot).create_self_subject_review({}).status.user_info
    assert me.username == f"system:serviceaccount:{NAMESPACE}:robot", me
    refused(403, client.CoreV1Api(robot).list_namespaced_pod, NAMESPACE)


def step_leader_election():
    led, lock = threading.Event(), LeaseLock("leader", NAMESPACE, "me")
    settings = electionconfig.Config(
        lock, lease_duration=4, renew_deadline=3, retry_period=1, onstarted_leading=led.set, onstopped_leading=None
    )
    threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()
    assert led.wait(PATIENCE)
    leases = client.CoordinationV1Api()
    first = leases.read_namespaced_lease("leader", NAMESPACE).spec
    assert first.holder_identity == "me", first
    renewed = wait_for(
        leases.list_namespaced_lease,
        lambda event: event["object"].spec.renew_time > first.renew_time,
        namespace=NAMESPACE,
    )
    assert renewed.spec.acquire_time == first.acquire_time, renewed


def step_namespace_goes():
    core().delete_namespace(NAMESPACE)
    of_name = {"field_selector": f"metadata.name={NAMESPACE}"}
    wait_for(core().list_namespace, lambda event: event["type"] == "DELETED", **of_name)
    client.ApiextensionsV1Api().delete_custom_resource_definition("kites.python.example.com")


def main():
    config.load_kube_config()
    steps = [(name, step) for name, step in globals().items() if name.startswith("step_")]
    for number, (name, step) in enumerate(steps, 1):
        title = f"{number} - {name.removeprefix('step_').replace('_', ' ')}"
        try:
            step()
            print(f"ok {title}", flush=True)
        except Exception:
            lines = traceback.format_exc().splitlines()
            # The last lines are what happened, those before where.
            print("\n".join([f"not ok {title}", *(f"# {line}" for line in lines[-8:])]), flush=True)
    print(f"1..{len(steps)}", flush=True)


if __name__ == "__main__":
    main()
