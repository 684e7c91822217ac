# Keys and accounts of a cluster. All of them live and die with the lab.

authority() { # folder server names...: everything a cluster's programs need to know each other
	local folder=$1 server=$2 name
	shift 2
	mkdir -p "$folder"
	chmod 700 "$folder"
	cd "$folder"
	openssl ecparam -genkey -name prime256v1 -noout -out ca.key
	openssl req -x509 -new -key ca.key -subj /CN=lab -days 3650 -out ca.crt
	certificate apiserver /CN=kube-apiserver "subjectAltName=$(
		IFS=,
		echo "$*"
	),DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
	certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client extendedKeyUsage=clientAuth
	openssl genrsa -out sa.key 2048 2>/dev/null
	openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
	: >tokens.csv
	account "$server" admin system:masters
	account "$server" system:kube-controller-manager system:kcm
	account "$server" system:kube-scheduler system:ks
	account "$server" system:kube-proxy system:kp
	for name in $(nodes); do account "$server" "system:node:$name" system:nodes; done
	cd - >/dev/null
}

certificate() { # name subject extension
	openssl ecparam -genkey -name prime256v1 -noout -out "$1.key"
	openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
		-extfile <(echo "$3") -out "$1.crt" 2>/dev/null
}

account() { # server user group: a token, and a kubeconfig that needs no other file
	local token
	token=$(openssl rand -hex 16)
	echo "$token,$2,$2,\"$3\"" >>tokens.csv
	kubeconfig "$1" ca.crt "$token" >"${2##*:}.kubeconfig"
}

kubeconfig() { # server authority token
	cat <<-END
		apiVersion: v1
		kind: Config
		clusters: [{name: lab, cluster: {server: "$1", certificate-authority-data: $(base64 -w0 "$2")}}]
		users: [{name: lab, user: {token: $3}}]
		contexts: [{name: lab, context: {cluster: lab, user: lab}}]
		current-context: lab
	END
}
