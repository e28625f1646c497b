# Two instances of a small web server, found through the tags that Traefik reads too.
#
#   nomad job run config/nomad/whoami.nomad.hcl
#   dig @NODE demo.service.consul SRV        where its instances are
#   dig @NODE demo.local                     leads to the edge, since a router has this host
#   curl --resolve demo.local:80:NODE http://demo.local/

job "demo" {
  type        = "service"
  datacenters = ["*"]

  group "demo" {
    count = 2

    network {
      port "http" { to = 80 }
    }

    service {
      name     = "demo"
      port     = "http"
      provider = "consul"

      tags = [
        "traefik.enable=true",
        "traefik.http.routers.demo.rule=Host(`demo.local`)",
        "traefik.http.routers.demo.middlewares=demo-headers",
        "traefik.http.middlewares.demo-headers.headers.customresponseheaders.x-served-by=portolan",
      ]

      check {
        type     = "http"
        path     = "/health"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "whoami" {
      driver = "docker"

      config {
        image = "traefik/whoami:v1.11"
        ports = ["http"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
