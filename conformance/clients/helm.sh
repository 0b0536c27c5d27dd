#!/usr/bin/env bash
# A chart's life under Helm 3 or 4, whichever $HELM is.
. "${BASH_SOURCE%/*}/tap.sh"
chart=${BASH_SOURCE%/*}/chart
series=$("$HELM" version --template '{{.Version}}' | cut -c1-2)
images=(--set "image=$AGNHOST" --set "busybox=$BUSYBOX")
# Helm 4 applies on the server, where fields have owners.
case $series in
v3) operation=Update force=() undo=--atomic ;;
*) operation=Apply force=(--force-conflicts) undo=--rollback-on-failure ;;
esac

h() { timeout 180 "$HELM" --namespace sea "$@"; }
s() { k --namespace sea "$@"; }
value() { s get "$1" -o "jsonpath={$2}"; }

step_install_waits_for_crds_hooks_and_objects() {
  local said
  said=$(h install sea "$chart" --create-namespace --wait --wait-for-jobs --timeout 150s "${images[@]}")
  within "voyage sea says hello on Kubernetes v1.37" "$said"
  same "$(value deployment/sea-voyage .status.readyReplicas)" 1
  same "$(value pvc/sea-voyage .status.phase)" Bound
  same "$(value job/sea-pre-install .status.succeeded)" 1
  same "$(value job/sea-post-install .status.succeeded)" 1
  refused NotFound s get configmap sea-first
}

step_custom_resource_is_defaulted_and_validated() {
  same "$(value ship/sea-voyage '.spec.decks')" 3
  within hello "$(s get shp)"
  refused "a ship has a deck" s patch ship sea-voyage --type=merge -p '{"spec":{"decks":0}}'
}

step_dry_run_asks_the_server() {
  within "kind: Ingress" "$(h install dry "$chart" --dry-run=server "${images[@]}")"
  refused NotFound s get deployment dry-voyage
}

step_fields_are_its_own() {
  same "$(s get configmap sea-voyage --show-managed-fields -o 'jsonpath={.metadata.managedFields[*].operation}')" $operation
  within helm "$(s get configmap sea-voyage --show-managed-fields -o 'jsonpath={.metadata.managedFields[*].manager}')"
}

step_a_second_install_of_the_name_is_refused() {
  refused "in use" h install sea "$chart" "${images[@]}"
}

step_release_is_kept_in_a_secret() {
  same "$(value secret/sh.helm.release.v1.sea.v1 '.type')" helm.sh/release.v1
  same "$(value secret/sh.helm.release.v1.sea.v1 '.metadata.labels.status')" deployed
}

step_test_runs_its_pod_and_shows_its_logs() {
  within '"output":"hello' "$(h test sea --logs --timeout 100s)"
}

step_upgrade_with_other_values() {
  local password
  password=$(value secret/sea-voyage .data.password)
  h upgrade sea "$chart" --wait --timeout 150s --reuse-values --set greeting=ahoy --set replicas=2
  same "$(value configmap/sea-voyage .data.GREETING)" ahoy
  same "$(value deployment/sea-voyage .status.updatedReplicas)" 2
  same "$(value deployment/sea-voyage .status.readyReplicas)" 2
  same "$(value ship/sea-voyage .spec.port)" ahoy
  same "$(value job/sea-post-upgrade .status.succeeded)" 1
  # What lookup found stays.
  same "$(value secret/sea-voyage .data.password)" "$password"
}

step_upgrade_with_other_templates() {
  h upgrade sea "$chart" --wait --timeout 150s --reuse-values --set next=true --description "the next chart"
  s get cronjob sea-voyage
  refused NotFound s get resourcequota sea-voyage
  same "$(value configmap/sea-voyage .data.NEXT)" yes
}

step_upgrade_leaves_what_others_set() {
  s scale deployment sea-voyage --replicas=3
  s annotate deployment sea-voyage by=hand
  if [[ $series != v3 ]]; then
    refused "conflict with" h upgrade sea "$chart" --reuse-values --set greeting=moin
  fi
  h upgrade sea "$chart" --wait --timeout 150s --reuse-values --set greeting=moin "${force[@]}"
  same "$(value deployment/sea-voyage .spec.replicas)" 2
  same "$(value deployment/sea-voyage .metadata.annotations.by)" hand
  same "$(value configmap/sea-voyage .data.GREETING)" moin
}

step_upgrade_that_fails_is_undone() {
  refused "a ship has a deck" h upgrade sea "$chart" --reuse-values --set decks=-1,greeting=never $undo --timeout 150s
  same "$(value configmap/sea-voyage .data.GREETING)" moin
  within '"deployed"' "$(h status sea -o json)"
}

step_dry_run_upgrade_changes_nothing() {
  local before
  before=$(value configmap/sea-voyage .metadata.resourceVersion)
  h upgrade sea "$chart" --dry-run=server --reuse-values --set greeting=never >/dev/null
  same "$(value configmap/sea-voyage .metadata.resourceVersion)" "$before"
}

step_history_status_get_and_list() {
  within "the next chart" "$(h history sea)"
  within '"status":"deployed"' "$(h status sea -o json)"
  within "moin" "$(h get values sea --all)"
  within "kind: Deployment" "$(h get manifest sea)"
  within "pre-install" "$(h get hooks sea)"
  within "voyage sea says" "$(h get notes sea)"
  within "chart: voyage" "$(h get metadata sea -o yaml | tr '[:upper:]' '[:lower:]')"
  within "voyage-0.1.0" "$(h list)"
  within "sea" "$(h list --all-namespaces -q)"
}

step_rollback() {
  h rollback sea 1 --wait --timeout 150s
  same "$(value configmap/sea-voyage .data.GREETING)" hello
  same "$(value deployment/sea-voyage .spec.replicas)" 1
  same "$(value configmap/sea-voyage .data.NEXT)" ""
  s get resourcequota sea-voyage
  refused NotFound s get cronjob sea-voyage
  same "$(value job/sea-pre-rollback .status.succeeded)" 1
  within "Rollback to 1" "$(h history sea)"
}

step_foreign_objects_are_adopted_only_when_told_to() {
  s create configmap other-voyage --from-literal=GREETING=mine
  refused "cannot be imported into the current release" h install other "$chart" --skip-crds "${images[@]}"
  h install other "$chart" --skip-crds --take-ownership --wait --timeout 150s "${images[@]}" "${force[@]}"
  same "$(value configmap/other-voyage .data.GREETING)" hello
  same "$(value configmap/other-voyage '.metadata.annotations.meta\.helm\.sh/release-name')" other
}

step_uninstall_waits_and_leaves_crds() {
  local release left
  for release in other sea; do h uninstall $release --wait --timeout 150s; done
  left=$(s get deployment,service,ingress,ship,cronjob,hpa,pdb,pvc,networkpolicy,role,rolebinding,quota -o name)
  same "$left" ""
  same "$(k get pv,clusterrole,clusterrolebinding -l app.kubernetes.io/name=voyage -o name)" ""
  same "$(value job/sea-pre-delete .status.succeeded)" 1
  same "$(h list --all -q)" ""
  k get crd ships.voyage.example.com
}

steps "$0"
