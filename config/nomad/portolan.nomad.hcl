# Portolan on every client of a Nomad cluster: DNS on 53, HTTP on 80 and 443.
#
# Each node's containers ask the Portolan of their own node, and names of routers resolve to that
# node. It needs, on each client:
#
#   a host volume:   client { host_volume "portolan" { path = "/opt/portolan" read_only = false } }
#                    mkdir -p /opt/portolan && chown 65532:65532 /opt/portolan
#   port 53 free on the node's address (nothing is bound to 127.0.0.53, where systemd-resolved sits)
#
#   nomad job run -var image=registry.example/portolan:0.1.0 config/nomad/portolan.nomad.hcl

variable "image" {
  type        = string
  description = "The image made by config/Dockerfile, in a registry that the clients reach."
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "upstreams" {
  type        = list(string)
  description = "Resolvers for names that are not ours. Not the node's own: that may be Portolan."
  default     = ["9.9.9.9", "1.1.1.1"]
}

# To run beside what serves 53, 80 and 443 today, give other ports here first.
variable "ports" {
  type    = object({ dns = number, http = number, https = number, admin = number })
  default = { dns = 53, http = 80, https = 443, admin = 8080 }
}

job "portolan" {
  type        = "system"
  datacenters = var.datacenters
  # Before the jobs that need names.
  priority = 90

  # One node after the other. Nomad versions that make no deployments of system jobs go by `stagger`
  # alone; the others wait until the check of the node before passes.
  update {
    max_parallel     = 1
    stagger          = "30s"
    health_check     = "checks"
    min_healthy_time = "10s"
    healthy_deadline = "2m"
  }

  group "portolan" {
    network {
      mode = "host"
      port "dns" { static = var.ports.dns }
      port "http" { static = var.ports.http }
      port "https" { static = var.ports.https }
      port "admin" { static = var.ports.admin }
    }

    # The last known catalog, the local certificate authority, compiled plugins: a restart while
    # Consul is away comes back with what it knew.
    volume "state" {
      type   = "host"
      source = "portolan"
    }

    restart {
      attempts = 5
      interval = "5m"
      delay    = "5s"
      mode     = "delay"
    }

    service {
      name     = "portolan"
      port     = "admin"
      provider = "consul"
      tags     = ["metrics"]

      check {
        type     = "http"
        path     = "/ping"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "portolan" {
      driver = "docker"

      config {
        image        = var.image
        network_mode = "host"
        # A non-root user on ports below 1024; everything else goes.
        cap_drop = ["all"]
        cap_add  = ["net_bind_service"]
        args     = ["--config", "${NOMAD_TASK_DIR}/config.toml"]
      }

      volume_mount {
        volume      = "state"
        destination = "/var/lib/portolan"
      }

      # Rendered for each node: its own address is where names lead and where DNS listens, which
      # leaves 127.0.0.53 to systemd-resolved. The Consul agent is that of the node.
      template {
        destination   = "local/config.toml"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        data          = <<-EOT
          {{- $ip := env "attr.unique.network.ip-address" }}
          data-dir = "/var/lib/portolan"

          [entrypoints.web]
          address = "0.0.0.0:${var.ports.http}"

          [entrypoints.websecure]
          address = "0.0.0.0:${var.ports.https}"
          # Routers without `tls` are here too, as with `http.tls` at Traefik's entrypoint. Without that:
          # tls = { plain-routers = false }
          tls = true

          # In reach of Consul's check and of Prometheus, and of whoever reaches this address: it is
          # read-only and has no password.
          [admin]
          address = "{{ $ip }}:${var.ports.admin}"

          [dns]
          # The third is Docker's bridge, for containers; it may come later.
          address = ["127.0.0.1:${var.ports.dns}", "{{ $ip }}:${var.ports.dns}", "172.17.0.1:${var.ports.dns}"]
          upstreams = ${jsonencode(var.upstreams)}
          edge-addresses = ["{{ $ip }}"]

          [dns.zones.consul]
          names = "consul"

          [plugins]
          directory = "/var/lib/portolan/plugins"

          [providers.consul]
          plugin = "consul"
          # As in your Traefik (`exposedByDefault`): with `false` no service is served without
          # `traefik.enable=true`.
          config = { address = "http://127.0.0.1:8500", prefix = "traefik", exposed-by-default = false }
          grants = { http-client = ["http://127.0.0.1:8500"] }

          [log]
          format = "json"

          # With `accept` (Traefik's requestAcceptGraceTimeout, 0 by default) shorter than kill_timeout.
          [drain]
          timeout = "25s"
        EOT
      }

      kill_signal = "SIGTERM"
      # Clients cap this at their max_kill_timeout, 30 s unless they say otherwise.
      kill_timeout = "30s"

      resources {
        cpu = 500
        # At rest it holds 80 MB; the very first start compiles plugins in processes of their own,
        # which take up to 350 MB for some seconds.
        memory = 512
      }
    }
  }
}
