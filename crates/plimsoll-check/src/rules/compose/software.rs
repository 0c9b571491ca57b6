//! What is known about images that many projects use: how to ask them whether they are well, where they write, and which
//! variables they read from files.

/// A program that comes as an image.
pub(in crate::rules) struct Software {
    /// Names of its image, without registry and tag.
    names: &'static [&'static str],
    /// Whether it keeps data that only services of the project should reach.
    pub(in crate::rules) keeps_data: bool,
    /// Ports it listens on.
    pub(in crate::rules) ports: &'static [u16],
    /// A test of its health that its image has the program for.
    pub(in crate::rules) probe: Option<&'static str>,
    /// Variables that it also reads from the file that `NAME_FILE` names.
    pub(in crate::rules) files: &'static [&'static str],
    /// Folders that it writes to, its data apart.
    pub(in crate::rules) writes: &'static [&'static str],
    /// Capabilities it cannot start without.
    pub(in crate::rules) capabilities: &'static [&'static str],
}

const STARTS_AS_ROOT: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"];

const ALL: &[Software] = &[
    Software {
        names: &["postgres", "postgis", "timescaledb", "pgvector"],
        keeps_data: true,
        ports: &[5432],
        probe: Some("pg_isready -U \\\"$${POSTGRES_USER:-postgres}\\\""),
        files: &["POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB"],
        writes: &["/tmp", "/run/postgresql"],
        capabilities: STARTS_AS_ROOT,
    },
    Software {
        names: &["mysql"],
        keeps_data: true,
        ports: &[3306, 33060],
        probe: Some("mysqladmin ping -h 127.0.0.1"),
        files: &[
            "MYSQL_ROOT_PASSWORD",
            "MYSQL_PASSWORD",
            "MYSQL_USER",
            "MYSQL_DATABASE",
        ],
        writes: &["/tmp", "/run/mysqld"],
        capabilities: STARTS_AS_ROOT,
    },
    Software {
        names: &["mariadb"],
        keeps_data: true,
        ports: &[3306],
        probe: Some("healthcheck.sh --connect --innodb_initialized"),
        files: &[
            "MARIADB_ROOT_PASSWORD",
            "MARIADB_PASSWORD",
            "MYSQL_ROOT_PASSWORD",
            "MYSQL_PASSWORD",
        ],
        writes: &["/tmp", "/run/mysqld"],
        capabilities: STARTS_AS_ROOT,
    },
    Software {
        names: &["mongo"],
        keeps_data: true,
        ports: &[27017],
        probe: Some("mongosh --quiet --eval 'db.runCommand({ping: 1})'"),
        files: &["MONGO_INITDB_ROOT_PASSWORD", "MONGO_INITDB_ROOT_USERNAME"],
        writes: &["/tmp"],
        capabilities: STARTS_AS_ROOT,
    },
    Software {
        names: &["redis"],
        keeps_data: true,
        ports: &[6379],
        probe: Some("redis-cli ping | grep -q PONG"),
        files: &[],
        writes: &["/tmp"],
        capabilities: &["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"],
    },
    Software {
        names: &["valkey"],
        keeps_data: true,
        ports: &[6379],
        probe: Some("valkey-cli ping | grep -q PONG"),
        files: &[],
        writes: &["/tmp"],
        capabilities: &["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"],
    },
    Software {
        names: &["memcached"],
        keeps_data: true,
        ports: &[11211],
        probe: None,
        files: &[],
        writes: &["/tmp"],
        capabilities: &[],
    },
    Software {
        names: &["rabbitmq"],
        keeps_data: true,
        ports: &[5672, 15672],
        probe: Some("rabbitmq-diagnostics -q ping"),
        files: &[],
        writes: &["/tmp"],
        capabilities: STARTS_AS_ROOT,
    },
    Software {
        names: &["elasticsearch", "opensearch"],
        keeps_data: true,
        ports: &[9200, 9300],
        probe: None,
        files: &["ELASTIC_PASSWORD"],
        writes: &["/tmp"],
        capabilities: &[],
    },
    Software {
        names: &["cassandra"],
        keeps_data: true,
        ports: &[9042, 7000],
        probe: Some("cqlsh -e 'describe cluster'"),
        files: &[],
        writes: &["/tmp"],
        capabilities: STARTS_AS_ROOT,
    },
    Software {
        names: &["mssql", "server"],
        keeps_data: true,
        ports: &[1433],
        probe: None,
        files: &[],
        writes: &["/tmp"],
        capabilities: &[],
    },
    Software {
        names: &["influxdb"],
        keeps_data: true,
        ports: &[8086],
        probe: Some("influx ping"),
        files: &["DOCKER_INFLUXDB_INIT_PASSWORD"],
        writes: &["/tmp"],
        capabilities: STARTS_AS_ROOT,
    },
    Software {
        names: &["minio"],
        keeps_data: true,
        ports: &[9000, 9001],
        probe: Some("mc ready local"),
        files: &["MINIO_ROOT_PASSWORD", "MINIO_ROOT_USER"],
        writes: &["/tmp"],
        capabilities: &[],
    },
    Software {
        names: &[
            "etcd",
            "consul",
            "zookeeper",
            "kafka",
            "nats",
            "couchdb",
            "neo4j",
            "clickhouse-server",
        ],
        keeps_data: true,
        ports: &[2379, 8500, 2181, 9092, 4222, 5984, 7474, 7687, 8123, 9000],
        probe: None,
        files: &[],
        writes: &["/tmp"],
        capabilities: &[],
    },
    Software {
        names: &["nginx"],
        keeps_data: false,
        ports: &[80, 443],
        probe: Some("wget -q -O /dev/null http://127.0.0.1/ || curl -fsS -o /dev/null http://127.0.0.1/"),
        files: &[],
        writes: &["/tmp", "/var/cache/nginx", "/run"],
        capabilities: &["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"],
    },
    Software {
        names: &["httpd"],
        keeps_data: false,
        ports: &[80, 443],
        probe: None,
        files: &[],
        writes: &["/tmp", "/usr/local/apache2/logs"],
        capabilities: &["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"],
    },
    Software {
        names: &["caddy"],
        keeps_data: false,
        ports: &[80, 443],
        probe: Some("wget -q -O /dev/null http://127.0.0.1:2019/metrics"),
        files: &[],
        writes: &["/tmp"],
        capabilities: &["NET_BIND_SERVICE"],
    },
    Software {
        names: &["traefik"],
        keeps_data: false,
        ports: &[80, 443],
        probe: Some("traefik healthcheck --ping"),
        files: &[],
        writes: &["/tmp"],
        capabilities: &["NET_BIND_SERVICE"],
    },
];

/// Ports that data is kept behind, whatever the image is called.
pub(in crate::rules) fn is_data_port(port: u16) -> bool {
    // 80 and 9000 belong to others as well.
    const SHARED: [u16; 2] = [9000, 8086];
    let mut data = ALL.iter().filter(|software| software.keeps_data);
    !SHARED.contains(&port) && data.any(|software| software.ports.contains(&port))
}

/// The software that an image is known to be.
pub(in crate::rules) fn of_image(image: &str) -> Option<&'static Software> {
    let name = image.split('@').next()?;
    let last = name.rsplit('/').next()?;
    let last = last.split(':').next()?;
    // `mssql/server` is the only one that its folder names.
    let meant = |known: &str| match known {
        "server" => name.contains("mssql/server"),
        known => last == known || last.strip_suffix("-alpine") == Some(known),
    };
    ALL.iter()
        .find(|software| software.names.iter().any(|known| meant(known)))
}
