# Both Dockerfiles as `docker buildx bake` targets, for the benchmark. From the repository's root:
#
#     docker buildx bake -f bench/docker-bake.hcl usual        # the peer
#     docker buildx bake -f bench/docker-bake.hcl optimized    # Dockerfile.monorepo-optimized without pruned contexts

variable "REGISTRY" {
  default = ""
}

variable "TAG" {
  default = "bench"
}

# A certificate bundle for machines whose TLS goes through their own authority.
variable "CA_FILE" {
  default = ""
}

variable "SERVICES" {
  default = ["api", "scheduler", "web", "worker"]
}

group "default" {
  targets = ["usual"]
}

target "usual" {
  name       = "usual-${service}"
  matrix     = { service = SERVICES }
  context    = "."
  dockerfile = "bench/Dockerfile.usual"
  target     = service
  tags       = ["${REGISTRY == "" ? "" : "${REGISTRY}/"}usual/${service}:${TAG}"]
  secret     = CA_FILE == "" ? [] : ["id=ca,src=${CA_FILE}"]
}

target "optimized" {
  name       = "optimized-${service}"
  matrix     = { service = SERVICES }
  context    = "."
  dockerfile = "Dockerfile.monorepo-optimized"
  target     = service
  tags       = ["${REGISTRY == "" ? "" : "${REGISTRY}/"}optimized/${service}:${TAG}"]
  secret     = CA_FILE == "" ? [] : ["id=ca,src=${CA_FILE}"]
}
