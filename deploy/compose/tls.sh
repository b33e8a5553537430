#!/usr/bin/env bash
# Makes what docker-compose.tls.yml mounts: an authority, certificates of broker and administrator, and a password for
# each login; every folder readable by the user alone that its container runs as. For trying things: in earnest, take
# certificates of an authority whose key is somewhere else. As root, since the files change hands; refuses to overwrite.
set -euo pipefail
umask 077
out=${1:-$(dirname "$0")/tls}
owners=${OWNERS:-1000 10001} # of the image's Kafka, and of lethe; "$(id -u) $(id -u)" makes the files one's own
read -r kafka lethe <<< "$owners"
mkdir "$out" || { echo "$out is there already: remove it to make everything anew" >&2; exit 2; }
cd "$out"
mkdir authority kafka admin worker archive operator

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=lethe compose authority" \
  -keyout authority/ca.key.pem -out authority/ca.pem 2> /dev/null

sign() { # NAME FILE SAN
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$2.key.pem" 2> /dev/null |
    openssl x509 -req -days 365 -CA authority/ca.pem -CAkey authority/ca.key.pem -out "$2.pem" \
      -extfile <(printf 'subjectAltName=%s\n' "$3") 2> /dev/null
}
sign kafka kafka/broker "DNS:kafka,DNS:localhost,IP:127.0.0.1"
sign admin admin/admin "DNS:admin"
cat kafka/broker.key.pem kafka/broker.pem > kafka/broker.keystore.pem
rm kafka/broker.key.pem kafka/broker.pem
cat admin/admin.key.pem admin/admin.pem > kafka/admin.keystore.pem
cat > kafka/admin.properties << 'PROPERTIES'
security.protocol=SSL
ssl.keystore.type=PEM
ssl.keystore.location=/tls/admin.keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=/tls/ca.pem
PROPERTIES

for login in worker archive operator; do
  password=$(openssl rand -hex 24)
  printf '%s\n' "$password" > "$login/password"
  printf 'SCRAM-SHA-512=password=%s\n' "$password" > "kafka/$login.scram.properties"
  cp authority/ca.pem "$login/ca.pem"
done
cp authority/ca.pem kafka/ca.pem
cp authority/ca.pem admin/ca.pem
chown -R "$kafka" kafka
chown -R "$lethe" admin worker archive operator
chmod 0711 .
