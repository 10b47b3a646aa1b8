#!/bin/sh
# Prints an environment file: .env.example with a domain and a fresh value for each secret in it.
#   ./make-env.sh nightscope.example.org > .env
# Makes certificates that are good for a trial in ./certs, unless there are some; put your own in their place.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
domain=${1:?"which domain? ./make-env.sh nightscope.example.org > .env"}
certs=${CERTS_DIR:-$here/certs}

hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }

certificates() {
  mkdir -p "$certs"
  openssl req -x509 -newkey rsa:3072 -nodes -days 825 -subj "/CN=Nightscope trial CA" \
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$certs/ca-key.pem" -out "$certs/ca.pem" 2>/dev/null
  openssl req -newkey rsa:3072 -nodes -subj "/CN=$domain" -keyout "$certs/key.pem" -out "$certs/cert.csr" 2>/dev/null
  names="subjectAltName=DNS:$domain,DNS:*.$domain"
  printf 'basicConstraints=CA:FALSE\n%s\nextendedKeyUsage=serverAuth\n' "$names" > "$certs/cert.ext"
  openssl x509 -req -in "$certs/cert.csr" -CA "$certs/ca.pem" -CAkey "$certs/ca-key.pem" -days 825 \
    -extfile "$certs/cert.ext" -out "$certs/cert.new" 2>/dev/null
  rm "$certs/cert.csr" "$certs/cert.ext" "$certs/ca-key.pem" # nobody signs anything else with it
  mv "$certs/cert.new" "$certs/cert.pem" # last: it stands for all of them
}
[ -e "$certs/cert.pem" ] || certificates
chmod 755 "$certs" && chmod 644 "$certs/cert.pem" "$certs/ca.pem" && chmod 600 "$certs/key.pem"
# The proxy's user reads the key, nobody else.
chown 10001:10001 "$certs/key.pem" 2>/dev/null || echo "then run: sudo chown 10001:10001 $certs/key.pem" >&2

while IFS= read -r line || [ -n "$line" ]; do
  case $line in
    DOMAIN=*) echo "DOMAIN=$domain" ;;
    *=*make-hex-*) size=${line##*make-hex-}; echo "${line%%=*}=$(hex "$size")" ;;
    *=make-fernet) echo "${line%%=*}=$(fernet)" ;;
    *) printf '%s\n' "$line" ;;
  esac
done < "$here/.env.example"
