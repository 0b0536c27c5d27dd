#!/usr/bin/env bash
# A tour of upstream's kubectl.
. "${BASH_SOURCE%/*}/tap.sh"
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$scratch"' EXIT

s() { k --namespace tour "$@"; }
value() { s get "$1" -o "jsonpath={$2}"; }
node() { k get nodes -o 'jsonpath={.items[0].metadata.name}'; }

manifest() { # IMAGE
  cat <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: main, image: "$1", args: [netexec, --http-port=8080], readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
EOF
}

step_version_and_cluster_info() {
  within '"gitVersion": "v1.37' "$(k version -o json)"
  within "is running at" "$(k cluster-info)"
  same "$(k get --raw /readyz)" ok
  within "readyz check passed" "$(k get --raw '/readyz?verbose')"
}

step_api_resources_and_versions() {
  local all
  all=$(k api-resources -o wide)
  within deployments "$all"
  within "apps/v1" "$(k api-versions)"
  within pods "$(k api-resources --namespaced --verbs=list,watch --categories=all -o name)"
}

step_explain() {
  within "KIND:       Pod" "$(k explain pod)"
  within "<[]Container> -required-" "$(k explain pod.spec)"
  within "FIELD: replicas <integer>" "$(k explain deployment.spec.replicas)"
  within "IngressClass" "$(k explain ingress.spec.ingressClassName)"
  within "minReplicas" "$(k explain hpa --recursive --api-version=autoscaling/v2)"
}

step_create_of_many_kinds() {
  k create namespace tour
  s create configmap settings --from-literal=a=1 --from-literal=b=2
  s create secret generic hidden --from-literal=password=x
  s create serviceaccount robot
  s create role reader --verb=get,list --resource=pods
  s create rolebinding robot --role=reader --serviceaccount=tour:robot
  k create clusterrole tour --verb=get --resource=nodes
  k create clusterrolebinding tour --clusterrole=tour --serviceaccount=tour:robot
  s create quota few --hard=pods=50
  s create poddisruptionbudget web --selector=app=web --min-available=1
  s create ingress web --class=none --rule="a.example.com/*=web:80"
  s create job once --image="$BUSYBOX" -- echo done
  s create cronjob nightly --image="$BUSYBOX" --schedule="0 4 * * *" -- true
  k create priorityclass tour --value=10
  s create service clusterip other --tcp=80:8080
  within "configmap/settings" "$(s get configmap,secret,sa,role,rolebinding,quota,pdb,ingress,cronjob -o name)"
}

step_dry_run_and_diff_and_apply() {
  manifest "$AGNHOST" >"$scratch/web.yaml"
  within "deployment.apps/web created (server dry run)" "$(s apply --dry-run=server -f "$scratch/web.yaml")"
  refused NotFound s get deployment web
  within "+kind: Deployment" "$(s diff -f "$scratch/web.yaml" || [[ $? == 1 ]])"
  within "deployment.apps/web created" "$(s apply -f "$scratch/web.yaml")"
  s rollout status deployment/web --timeout=100s
  same "$(s diff -f "$scratch/web.yaml")" ""
  within "deployment.apps/web unchanged" "$(s apply -f "$scratch/web.yaml")"
}

step_apply_changes_and_prunes() {
  sed 's/replicas: 2/replicas: 3/' "$scratch/web.yaml" | s apply -f -
  same "$(value deployment/web .spec.replicas)" 3
  s create configmap stale --from-literal=a=1 -o yaml --dry-run=client |
    k label --local -f - swept=yes -o yaml >"$scratch/stale.yaml"
  s apply -f "$scratch/stale.yaml"
  sed 's/name: stale/name: kept/' "$scratch/stale.yaml" |
    s apply --prune -l swept=yes --prune-allowlist=core/v1/ConfigMap -f -
  refused NotFound s get configmap stale
  within '"targetPort":8080' "$(s apply view-last-applied service/web -o json | tr -d ' \n')"
}

step_apply_on_the_server() {
  s apply --server-side --field-manager=left -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned"},"data":{"a":"1"}}'
  refused 'conflict with "left"' s apply --server-side --field-manager=right -f - \
    <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned"},"data":{"a":"2"}}'
  s apply --server-side --force-conflicts --field-manager=right -f - \
    <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned"},"data":{"a":"2"}}'
  same "$(s get configmap owned -o 'jsonpath={.metadata.managedFields[*].manager}' --show-managed-fields)" right
}

step_get_in_every_form() {
  within "READY" "$(s get deployment -o wide)"
  within "NODE" "$(s get pods -o wide)"
  within "kind: List" "$(s get pods -o yaml)"
  same "$(s get deployment web -o 'jsonpath={.spec.template.spec.containers[0].name}')" main
  same "$(s get deployment web -o 'go-template={{.spec.replicas}}')" 3
  within "web 3" "$(s get deployment -o custom-columns=NAME:.metadata.name,WISH:.spec.replicas | tr -s ' ')"
  within "deployment.apps/web" "$(s get all -o name)"
  within "app=web" "$(s get pods --show-labels)"
  within "APP" "$(s get pods -L app)"
  within web- "$(s get pods --sort-by=.metadata.creationTimestamp --field-selector=status.phase=Running -l app=web -o name)"
  within "kube-system" "$(k get namespaces)"
  within tour "$(k get pods -A)"
  refused "not found" s get pods none
  same "$(s get pods none --ignore-not-found)" ""
  within '"kind":"PodList"' "$(k get --raw /api/v1/namespaces/tour/pods)"
}

step_get_watches() {
  timeout 20 kubectl --namespace tour get configmaps --watch --output-watch-events >"$scratch/watched" &
  local watcher=$!
  until_true 10 grep -q ADDED "$scratch/watched"
  s create configmap seen
  s delete configmap seen
  until_true 10 grep -q "DELETED.*seen" "$scratch/watched"
  kill $watcher
}

step_describe_and_events() {
  within "StrategyType:           RollingUpdate" "$(s describe deployment web)"
  within "Endpoints:" "$(s describe service web)"
  within "Readiness:      http-get http://:8080/healthz" "$(s describe pods -l app=web)"
  within "Allocatable:" "$(k describe nodes)"
  within "ScalingReplicaSet" "$(s events --for deployment/web)"
  within "Scheduled" "$(s get events)"
}

step_set_and_rollout() {
  s set image deployment/web main="$AGNHOST" --record=false
  s set env deployment/web COLOUR=red
  s set resources deployment/web --requests=cpu=10m
  s set serviceaccount deployment web robot
  s rollout status deployment/web --timeout=100s
  same "$(s get deployment web -o 'jsonpath={.spec.template.spec.containers[0].env[0].value}')" red
  s annotate deployment/web kubernetes.io/change-cause="the colour" --overwrite
  within "REVISION" "$(s rollout history deployment/web)"
  s rollout restart deployment/web
  s rollout status deployment/web --timeout=100s
  s rollout undo deployment/web
  s rollout status deployment/web --timeout=100s
  s rollout pause deployment/web
  same "$(value deployment/web .spec.paused)" true
  s rollout resume deployment/web
}

step_scale_and_autoscale() {
  s scale deployment/web --replicas=1 --current-replicas=3
  s wait deployment/web --for=jsonpath='{.status.replicas}'=1 --timeout=60s
  refused "Expected replicas to be 5" s scale deployment/web --replicas=2 --current-replicas=5
  s autoscale deployment web --min=1 --max=3 --cpu=80%
  same "$(value hpa/web .spec.maxReplicas)" 3
  s delete hpa web
}

step_label_annotate_and_taint() {
  s label deployment web tier=front
  refused "already has a value" s label deployment web tier=back
  s label deployment web tier=back --overwrite
  s label deployment web tier-
  s annotate deployment web note=here
  same "$(value deployment/web .metadata.annotations.note)" here
  k taint node "$(node)" tour=yes:PreferNoSchedule
  k taint node "$(node)" tour-
}

step_patches_of_every_type() {
  s patch configmap settings -p '{"data":{"c":"3"}}'
  s patch configmap settings --type=merge -p '{"data":{"a":null}}'
  s patch configmap settings --type=json -p '[{"op":"replace","path":"/data/b","value":"4"}]'
  same "$(value configmap/settings .data)" '{"b":"4","c":"3"}'
  s patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":1}}'
  refused "cannot unmarshal object" s patch configmap settings --type=merge -p '{"data":{"a":{}}}'
}

step_edit() {
  cat >"$scratch/editor" <<'EOF'
#!/bin/sh
sed -i 's/c: "3"/c: "edited"/' "$1"
EOF
  chmod +x "$scratch/editor"
  KUBE_EDITOR=$scratch/editor s edit configmap settings
  same "$(value configmap/settings .data.c)" edited
}

step_replace_and_delete() {
  s get configmap settings -o yaml | sed 's/edited/replaced/' | s replace -f -
  same "$(value configmap/settings .data.c)" replaced
  s replace --force -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"new":"1"}}'
  same "$(value configmap/settings .data)" '{"new":"1"}'
  s delete configmap settings --wait
  refused NotFound s get configmap settings
}

step_kustomize() {
  mkdir -p "$scratch/kustom"
  cat >"$scratch/kustom/kustomization.yaml" <<'EOF'
namePrefix: big-
labels: [{pairs: {from: kustomize}}]
configMapGenerator: [{name: made, literals: [a=b]}]
EOF
  within "name: big-made-" "$(k kustomize "$scratch/kustom")"
  s apply -k "$scratch/kustom"
  within "big-made-" "$(s get configmap -l from=kustomize -o name)"
  s delete -k "$scratch/kustom"
}

step_run_and_wait() {
  s run talker --image="$BUSYBOX" --restart=Never -- sh -c 'echo one; echo two; sleep 1; echo three'
  s wait pod/talker --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s
  s wait job/once --for=condition=Complete --timeout=60s
  same "$(s run once-only --image="$BUSYBOX" --restart=Never --rm --attach --quiet -- sh -c "sleep 1; echo attached; sleep 1")" attached
}

step_logs() {
  same "$(s logs talker | tr '\n' ' ')" "one two three "
  same "$(s logs talker --tail=1)" three
  within "Z three" "$(s logs talker --timestamps --tail=1)"
  same "$(s logs job/once)" done
  s run ticker --image="$BUSYBOX" --restart=Never -- sh -c 'echo tick; sleep 1; echo tock'
  s wait pod/ticker --for=jsonpath='{.status.containerStatuses[0].started}' --timeout=60s
  same "$(s logs -f ticker | tr '\n' ' ')" "tick tock "
  within "/main] " "$(s logs -l app=web --prefix --all-containers)"
}

step_exec_and_attach() {
  same "$(s exec deploy/web -- echo hello)" hello
  same "$(echo through | s exec -i deploy/web -- cat)" through
  local code=0
  s exec deploy/web -- sh -c 'exit 7' || code=$?
  same $code 7
  s create -f - <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"catter"},"spec":{"terminationGracePeriodSeconds":0,
    "containers":[{"name":"cat","image":"'"$BUSYBOX"'","command":["cat"],"stdin":true}]}}'
  s wait pod/catter --for=condition=Ready --timeout=60s
  same "$( (echo over; sleep 1) | timeout 20 kubectl --namespace tour attach -i catter -q | head -1)" over
}

step_cp() {
  local pod
  pod=$(s get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')
  head -c 3000000 /dev/urandom >"$scratch/there"
  s cp "$scratch/there" "$pod:/tmp/copied"
  s cp "$pod:/tmp/copied" "$scratch/back"
  cmp "$scratch/there" "$scratch/back"
}

step_port_forward() {
  timeout 60 kubectl --namespace tour port-forward service/web :80 >"$scratch/forward" &
  local forwarder=$! port
  until_true 20 grep -q Forwarding "$scratch/forward"
  port=$(sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p;q' "$scratch/forward")
  for message in one two three; do
    same "$(curl --silent --max-time 20 "http://127.0.0.1:$port/echo?msg=$message")" $message
  done
  kill $forwarder
}

step_proxy() {
  timeout 60 kubectl proxy --port=0 >"$scratch/proxy" &
  local proxy=$! port
  until_true 20 grep -q Starting "$scratch/proxy"
  port=$(sed -n 's/.*:\([0-9]*\)$/\1/p;q' "$scratch/proxy")
  within '"gitVersion"' "$(curl --silent --max-time 20 "http://127.0.0.1:$port/version")"
  same "$(curl --silent --max-time 20 "http://127.0.0.1:$port/api/v1/namespaces/tour/services/web:80/proxy/echo?msg=hi")" hi
  kill $proxy
}

step_debug() {
  local pod
  pod=$(s get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')
  within 8080 "$(s debug "$pod" --image="$BUSYBOX" --attach --quiet -- sh -c 'sleep 1; netstat -ln; sleep 1')"
  within debugger "$(value "pod/$pod" '.spec.ephemeralContainers[*].name')"
  s debug "$pod" --copy-to=copied --image="$BUSYBOX" --container=spy -- sleep 1000
  s wait pod/copied --for=condition=Ready --timeout=60s
  s debug "node/$(node)" --image="$BUSYBOX" -- sleep 1
  within node-debugger "$(s get pods -o name)"
}

step_auth() {
  same "$(k auth can-i create pods)" yes
  same "$(s auth can-i list pods --as=system:serviceaccount:tour:robot)" yes
  refused no s auth can-i delete pods --as=system:serviceaccount:tour:robot
  within "pods" "$(s auth can-i --list --as=system:serviceaccount:tour:robot)"
  within "system:masters" "$(k auth whoami)"
  within "reconciled" "$(s get role reader -o yaml | s auth reconcile -f -)"
  refused "cannot delete resource" s delete pod none --as=system:serviceaccount:tour:robot
}

step_create_token() {
  local token
  token=$(s create token robot --duration=10m)
  same "$(curl --silent --cacert <(k config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d) \
    --header "Authorization: Bearer $token" --output /dev/null --write-out '%{http_code}' \
    "$(k config view -o 'jsonpath={.clusters[0].cluster.server}')/api/v1/namespaces/tour/pods")" 200
}

step_certificate_approve_and_deny() {
  local request
  request=$(base64 -w0 <"${BASH_SOURCE%/*}/request.pem")
  for name in good bad; do
    k create -f - <<<'{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"'$name'"},
      "spec":{"request":"'"$request"'","signerName":"kubernetes.io/kube-apiserver-client","usages":["client auth"]}}'
  done
  k certificate approve good
  k certificate deny bad
  until_true 20 eval '[[ -n "$(k get csr good -o "jsonpath={.status.certificate}")" ]]'
  within "Denied" "$(k get csr bad)"
  k get csr good -o 'jsonpath={.status.certificate}' | base64 -d | grep -q "BEGIN CERTIFICATE"
}

step_cordon_and_drain() {
  k cordon "$(node)"
  within SchedulingDisabled "$(k get nodes)"
  k uncordon "$(node)"
  s delete pod --all --force --grace-period=0
  s delete pdb web
  s wait deployment/web --for=condition=Available --timeout=60s
  k drain "$(node)" --ignore-daemonsets --delete-emptydir-data --force --timeout=60s
  same "$(s get pods -l app=web --field-selector=status.phase=Running -o name)" ""
  k uncordon "$(node)"
  s rollout status deployment/web --timeout=60s
}

step_drain_respects_budgets() {
  s create poddisruptionbudget web --selector=app=web --min-available=1
  until_true 20 eval 'same "$(value pdb/web .status.currentHealthy)" 1'
  refused "Cannot evict pod as it would violate the pod's disruption budget" \
    k drain "$(node)" --ignore-daemonsets --force --timeout=5s
  k uncordon "$(node)"
}

# As in any cluster without metrics-server.
step_top_says_that_nobody_serves_metrics() {
  refused "Metrics API not available" k top nodes
}

step_expose_and_custom_resources() {
  s expose deployment web --name=exposed --port=80 --target-port=8080
  same "$(value service/exposed '.spec.ports[0].port')" 80
  k apply -f "${BASH_SOURCE%/*}/chart/crds/ships.yaml"
  k wait crd/ships.voyage.example.com --for=condition=Established --timeout=20s
  s apply -f - <<<'{"apiVersion":"voyage.example.com/v1","kind":"Ship","metadata":{"name":"one"},"spec":{"port":"Kiel"}}'
  within "Kiel" "$(s get ships)"
  until_true 20 k explain ship.spec.port
  s scale ship one --replicas=4
  same "$(value ship/one .spec.decks)" 4
  refused 'unknown field "spec.sails"' s create -f - \
    <<<'{"apiVersion":"voyage.example.com/v1","kind":"Ship","metadata":{"name":"two"},"spec":{"port":"Kiel","sails":1}}'
  k delete crd ships.voyage.example.com
}

step_delete_of_everything() {
  s delete deployment web --cascade=foreground --wait
  same "$(s get replicasets,pods -l app=web -o name)" ""
  k delete clusterrole,clusterrolebinding,priorityclass tour
  k delete csr good bad
  k delete namespace tour --wait --timeout=100s
  refused NotFound k get namespace tour
}

steps "$0"
