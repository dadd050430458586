# Read before the commands of deploy/image/README.md: `docker` for a machine without a registry, and with other images and
# servers on it. Images get the tag `readme`, base images are those of sandbox/compose/build-images, ports are free ones; a
# container runs in the background, where the sandbox's issuer and API server are.
docker() {
    local verb=$1 program=docker word words=() id
    shift
    for word; do
        case $word in
        kube-oidc-gateway | kube-oidc-gateway-plugin) word=$word:readme ;;
        127.0.0.1:*) word=127.0.0.1::${word##*:} ;;
        esac
        words+=("$word")
    done
    case $verb in
    build)
        # BuildKit without the plugin buildx: the engine's own client.
        command docker buildx version >/dev/null 2>&1 || program=/usr/bin/docker
        DOCKER_BUILDKIT=1 command "$program" build --quiet --build-arg FILES=kube-oidc-gateway-sandbox-files:local \
            --build-arg ENVOY_IMAGE=kube-oidc-gateway-sandbox-envoy:local "${words[@]}"
        ;;
    run)
        id=$(command docker create --network "${COMPOSE_PROJECT_NAME}_users" "${words[@]}")
        command docker network connect "${COMPOSE_PROJECT_NAME}_cluster" "$id"
        command docker start "$id"
        ;;
    esac
}
