#!/usr/bin/env bash
# Upstream's controllers on an Orlop that runs none: each with the ServiceAccount and the rights that the API's own
# policy gives it, as the usual installer has it.
. "${BASH_SOURCE%/*}/tap.sh"
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$scratch"' EXIT
pki=/var/lib/orlop/pki

s() { k --namespace managed "$@"; }
value() { s get "$1" -o "jsonpath={$2}"; }

# Not the administrator: the user whom policy knows as the controller manager.
as_itself() {
  cp "$KUBECONFIG" "$scratch/kubeconfig"
  kubectl config --kubeconfig="$scratch/kubeconfig" set users.kubernetes-admin.as system:kube-controller-manager
}

start() {
  "$KUBE_CONTROLLER_MANAGER" --kubeconfig="$scratch/kubeconfig" --use-service-account-credentials \
    --controllers='*,bootstrap-signer-controller,token-cleaner-controller' --root-ca-file=$pki/ca.crt \
    --cluster-signing-cert-file=$pki/ca.crt --cluster-signing-key-file=$pki/ca.key \
    --service-account-private-key-file=$pki/sa.key --allocate-node-cidrs --cluster-cidr=10.244.0.0/16 \
    --service-cluster-ip-range=10.96.0.0/12 --bind-address=127.0.0.1 --terminated-pod-gc-threshold=2 \
    --horizontal-pod-autoscaler-sync-period=1s --v=2 >&2 &
  manager=$!
}

step_it_leads() {
  k create namespace managed
  s create deployment web --image="$AGNHOST" --replicas=2 -- /agnhost netexec --http-port=8080
  until_true 60 kubectl --namespace kube-system get lease kube-controller-manager
  kill -0 "$manager"
}

step_service_accounts_and_root_certificates() {
  until_true 60 kubectl --namespace managed get serviceaccount default
  until_true 60 kubectl --namespace managed get configmap kube-root-ca.crt
  same "$(value configmap/kube-root-ca.crt '.data.ca\.crt')" "$(cat $pki/ca.crt)"
}

step_deployment_rolls_out_and_back() {
  s rollout status deployment/web --timeout=100s
  s set env deployment/web COLOUR=red
  s rollout status deployment/web --timeout=100s
  same "$(value deployment/web '.metadata.annotations.deployment\.kubernetes\.io/revision')" 2
  s rollout undo deployment/web
  s rollout status deployment/web --timeout=100s
}

step_endpoints_follow_pods() {
  s expose deployment web --port=80 --target-port=8080
  until_true 60 eval '[[ $(s get endpointslices -l kubernetes.io/service-name=web \
    -o "jsonpath={.items[*].endpoints[*].conditions.ready}") == "true true" ]]'
  same "$(s get endpoints web -o 'jsonpath={.subsets[0].ports[0].port}' 2>/dev/null)" 8080
  s run asker --image="$BUSYBOX" --restart=Never -- wget -q -O - http://web/echo?msg=served
  s wait pod/asker --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s
  same "$(s logs asker)" served
}

step_statefulset_and_daemonset() {
  s create -f - <<EOF
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ordered}
spec:
  replicas: 2
  serviceName: ordered
  selector: {matchLabels: {app: ordered}}
  template: {metadata: {labels: {app: ordered}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: a, image: "$AGNHOST", args: [pause]}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template: {metadata: {labels: {app: everywhere}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: a, image: "$AGNHOST", args: [pause]}]}}
EOF
  s rollout status statefulset/ordered --timeout=100s
  s rollout status daemonset/everywhere --timeout=100s
  s get pod ordered-0 ordered-1
}

step_jobs_and_cron_jobs() {
  s create job once --image="$BUSYBOX" -- true
  s wait job/once --for=condition=Complete --timeout=60s
  s create cronjob often --image="$BUSYBOX" --schedule='* * * * *' -- true
  s create job by-hand --from=cronjob/often
  s wait job/by-hand --for=condition=Complete --timeout=60s
  s create -f - <<EOF
apiVersion: batch/v1
kind: Job
metadata: {name: short-lived}
spec: {ttlSecondsAfterFinished: 0, template: {spec: {restartPolicy: Never, containers: [{name: a, image: "$BUSYBOX", command: ["true"]}]}}}
EOF
  s wait job/short-lived --for=delete --timeout=60s
}

step_quota_is_counted() {
  s create quota few --hard=configmaps=3,pods=50
  until_true 60 eval '[[ "$(value quota/few .status.used.configmaps)" == 1 ]]'
  s create configmap one
  s create configmap two
  refused "exceeded quota: few" s create configmap three
  s delete configmap one
  until_true 60 eval '[[ "$(value quota/few .status.used.configmaps)" == 2 ]]'
}

step_garbage_is_collected() {
  s delete deployment web --cascade=orphan
  same "$(s get replicasets -l app=web -o 'jsonpath={.items[*].metadata.ownerReferences}')" ""
  s delete replicasets -l app=web --cascade=foreground --timeout=60s
  same "$(s get pods -l app=web -o name)" ""
  s delete statefulset,daemonset --all --cascade=background
  s wait pod/ordered-0 --for=delete --timeout=60s
}

step_garbage_of_custom_resources() {
  k apply -f "${BASH_SOURCE%/*}/chart/crds/ships.yaml"
  k wait crd/ships.voyage.example.com --for=condition=Established --timeout=20s
  s apply -f - <<<'{"apiVersion":"voyage.example.com/v1","kind":"Ship","metadata":{"name":"owner"},"spec":{"port":"Kiel"}}'
  local uid
  uid=$(value ship/owner .metadata.uid)
  s apply -f - <<EOF
apiVersion: v1
kind: ConfigMap
metadata:
  name: owned
  ownerReferences: [{apiVersion: voyage.example.com/v1, kind: Ship, name: owner, uid: $uid}]
EOF
  s delete ship owner
  s wait configmap/owned --for=delete --timeout=100s
}

step_disruption_budget_is_counted() {
  s create poddisruptionbudget none --selector=app=none --min-available=1
  until_true 60 eval '[[ "$(value pdb/none .status.observedGeneration)" == 1 ]]'
}

step_volumes_are_bound_and_protected() {
  k create -f - <<EOF
apiVersion: v1
kind: PersistentVolume
metadata: {name: managed}
spec: {capacity: {storage: 1Mi}, accessModes: [ReadWriteOnce], storageClassName: "", hostPath: {path: /var/lib/managed}}
EOF
  s create -f - <<EOF
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Mi}}}
EOF
  s wait pvc/claim --for=jsonpath='{.status.phase}'=Bound --timeout=60s
  s delete pvc claim --timeout=60s
  k wait pv/managed --for=jsonpath='{.status.phase}'=Released --timeout=60s
  k delete pv managed --timeout=60s
}

step_certificates_are_signed() {
  k create -f - <<<'{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"managed"},
    "spec":{"request":"'"$(base64 -w0 <"${BASH_SOURCE%/*}/request.pem")"'","signerName":"kubernetes.io/kube-apiserver-client","usages":["client auth"]}}'
  k certificate approve managed
  k wait csr/managed --for=jsonpath='{.status.certificate}' --timeout=60s
}

step_roles_are_aggregated() {
  k create clusterrole part --verb=get --resource=pods
  k label clusterrole part tour=yes
  k create -f - <<<'{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"whole"},
    "aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"tour":"yes"}}]},"rules":[]}'
  until_true 60 eval '[[ "$(k get clusterrole whole -o "jsonpath={.rules[0].resources[0]}")" == pods ]]'
  k delete clusterrole part whole
}

step_terminated_pods_are_swept() {
  until_true 100 eval '(($(s get pods --field-selector=status.phase=Succeeded -o name | wc -l) <= 2))'
}

step_namespace_goes_with_all_it_holds() {
  k delete namespace managed --timeout=100s
  refused NotFound k get namespace managed
}

step_it_still_runs() {
  kill -0 "$manager"
}

as_itself >&2
start
steps "$0"
