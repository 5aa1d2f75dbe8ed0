#!/usr/bin/env bash
# Write random secrets into deploy/secrets/, once: a file that is there stays as it is.
#
# Compose mounts these files into containers whose users are not the owner here, so the files can be read by all, and
# the folder keeps everybody else on this machine out.
set -euo pipefail
umask 022
folder="${1:-$(dirname "$0")/secrets}"
mkdir -p "$folder"
chmod 700 "$folder"

random() { head -c "${1:-32}" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# Write standard input to a file of the folder, whole or not at all, unless it is there.
keep() {
  if [ -s "$folder/$1" ]; then
    cat >/dev/null
    return
  fi
  cat >"$folder/$1.new"
  chmod 444 "$folder/$1.new"
  mv "$folder/$1.new" "$folder/$1"
  echo "made $folder/$1"
}

random | keep postgres_password
printf 'postgresql+psycopg://gristmill:%s@postgres:5432/gristmill' "$(cat "$folder/postgres_password")" |
  keep gristmill_database_url
printf 'gm_admin_%s' "$(random)" | keep gristmill_admin_key
random | keep metrics_key
random | keep ray_token
random 16 | keep grafana_password

# The object store of the profile "s3", and those who use it.  For a store elsewhere, write its keys into the first.
access="gristmill-$(random 4)" secret="$(random)"
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$access" "$secret" | keep aws_credentials
access="$(sed -n 's/^aws_access_key_id = //p' "$folder/aws_credentials")"
secret="$(sed -n 's/^aws_secret_access_key = //p' "$folder/aws_credentials")"
keep s3.json <<END
{
  "identities": [
    {
      "name": "gristmill",
      "credentials": [{ "accessKey": "$access", "secretKey": "$secret" }],
      "actions": ["Admin", "Read", "List", "Tagging", "Write"]
    }
  ]
}
END
