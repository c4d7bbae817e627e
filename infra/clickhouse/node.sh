#!/bin/bash
# Makes an instance the node that its volume and address belong to. Run at every first start of an instance; whatever is already done is left.
# In: NODE, ROLE (clickhouse or keeper), VERSION, VOLUME_ID, INTERFACE_ID, FULL_NAME, SERVICE_NAME, REGION, PARAMETERS (prefix in SSM), STORES_KEY.
set -euo pipefail
export AWS_DEFAULT_REGION=$REGION

until_true() { # seconds command...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    if ((SECONDS > end)); then
      echo "gave up: $*" >&2
      return 1
    fi
    sleep 3
  done
}

token=$(curl -sSf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' http://169.254.169.254/latest/api/token)
instance=$(curl -sSf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id)

# Volume and address come over from the instance before, once that has let go.
attach_volume() { aws ec2 attach-volume --volume-id "$VOLUME_ID" --instance-id "$instance" --device /dev/sdf >/dev/null; }
attach_interface() { aws ec2 attach-network-interface --network-interface-id "$INTERFACE_ID" --instance-id "$instance" --device-index 1 >/dev/null; }
until_true 600 attach_volume
until_true 600 attach_interface
device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${VOLUME_ID/-/}
until_true 120 test -b "$device"
# A volume that holds anything is never formatted.
if ! blkid "$device" >/dev/null; then mkfs.xfs -L weir-data "$device"; fi
mkdir -p /var/lib/clickhouse
grep -q weir-data /etc/fstab || echo 'LABEL=weir-data /var/lib/clickhouse xfs noatime,nofail 0 2' >>/etc/fstab
mountpoint -q /var/lib/clickhouse || mount /var/lib/clickhouse
xfs_growfs /var/lib/clickhouse >/dev/null

cp clickhouse.repo /etc/yum.repos.d/clickhouse.repo
if [ "$ROLE" = keeper ]; then packages=("clickhouse-keeper-$VERSION*"); else packages=("clickhouse-server-$VERSION*" "clickhouse-client-$VERSION*"); fi
dnf install -y -q "${packages[@]}" openssl jq amazon-cloudwatch-agent

# One authority for all nodes: whoever comes first makes it, and SSM lets only one be first.
ca=/etc/weir/ca
install -d -m 700 /etc/weir "$ca"
read_ca() { aws ssm get-parameter --with-decryption --name "$PARAMETERS/ca-key" --query Parameter.Value --output text >"$ca/both.pem" 2>/dev/null; }
if ! read_ca; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=weir ClickHouse" -keyout "$ca/key.pem" -out "$ca/cert.pem"
  aws ssm put-parameter --type SecureString --key-id "$STORES_KEY" --name "$PARAMETERS/ca-key" --value "$(cat "$ca/key.pem" "$ca/cert.pem")" >/dev/null || true
  until_true 60 read_ca
fi
openssl pkey -in "$ca/both.pem" -out "$ca/key.pem"
openssl x509 -in "$ca/both.pem" -out "$ca/cert.pem"
aws ssm put-parameter --type String --overwrite --name "$PARAMETERS/ca" --value "$(cat "$ca/cert.pem")" >/dev/null

tls=/etc/clickhouse-$([ "$ROLE" = keeper ] && echo keeper || echo server)
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$FULL_NAME" -keyout "$tls/node.key" -out "$ca/request.pem"
printf 'subjectAltName=DNS:%s,DNS:%s,DNS:localhost\n' "$FULL_NAME" "$SERVICE_NAME" >"$ca/names"
openssl x509 -req -in "$ca/request.pem" -CA "$ca/cert.pem" -CAkey "$ca/key.pem" -CAcreateserial -days 825 -extfile "$ca/names" -out "$tls/node.crt"
cp "$ca/cert.pem" "$tls/ca.crt"
rm -rf "$ca"
chown clickhouse:clickhouse "$tls"/node.* "$tls/ca.crt" /var/lib/clickhouse
chmod 400 "$tls/node.key"

password_hash() { aws secretsmanager get-secret-value --secret-id "$1" --query SecretString --output text | jq -j .password | sha256sum | cut -d' ' -f1; }
umask 077
{
  echo "NODE=$NODE"
  echo "NODE_NAME=$FULL_NAME"
  echo "NODE_NUMBER=${NODE##*-}"
  if [ "$ROLE" = clickhouse ]; then
    echo "SINKS_SHA256=$(password_hash "$SINKS_SECRET")"
    echo "OPERATOR_SHA256=$(password_hash "$OPERATOR_SECRET")"
    echo "API_SHA256=$(password_hash "$API_SECRET")"
    echo "ANALYST_SHA256=$(password_hash "$ANALYST_SECRET")"
    echo "INTERSERVER_PASSWORD=$(aws secretsmanager get-secret-value --secret-id "$INTERSERVER_SECRET" --query SecretString --output text | jq -j .password)"
    echo "BACKUP_URL=$BACKUP_URL"
    echo "JOB=$JOB"
    echo "AWS_DEFAULT_REGION=$REGION"
  fi
} >/etc/weir/node.env
umask 022

if [ "$ROLE" = keeper ]; then
  install -m 644 keeper.xml /etc/clickhouse-keeper/keeper_config.xml
  service=clickhouse-keeper
else
  install -m 644 server.xml /etc/clickhouse-server/config.d/weir.xml
  install -m 644 users.xml /etc/clickhouse-server/users.d/weir.xml
  rm -f /etc/clickhouse-server/users.d/default-password.xml
  install -m 755 backup.sh /usr/local/bin/weir-backup
  install -m 644 weir-backup.service weir-backup.timer /etc/systemd/system/
  service=clickhouse-server
fi
install -d "/etc/systemd/system/$service.service.d"
printf '[Service]\nEnvironmentFile=/etc/weir/node.env\nLimitNOFILE=1048576\nRestart=always\n' >"/etc/systemd/system/$service.service.d/weir.conf"
systemctl daemon-reload
systemctl enable --now "$service"

install -d /opt/aws/amazon-cloudwatch-agent/etc
cp prometheus.yaml agent.json /opt/aws/amazon-cloudwatch-agent/etc/
/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c file:/opt/aws/amazon-cloudwatch-agent/etc/agent.json

if [ "$ROLE" = keeper ]; then
  until_true 300 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9281'
else
  until_true 300 curl -sSf --cacert "$tls/ca.crt" "https://localhost:8443/ping"
  systemctl enable --now weir-backup.timer
fi
