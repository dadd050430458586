//! Names for addresses, in place of a cluster's DNS and of the internet's: for pods by dnsmasq, for this machine by the hosts
//! file that `namespaces.sh` has put in place of the machine's.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use sandbox::{Process, Spec};

use crate::nodes::{APISERVER, folder};

/// Where pods ask.
pub const SERVER: &str = APISERVER;

/// Starts what pods ask.
pub fn serve(folder: &Path) -> Process {
    let known = folder.join("names");
    fs::create_dir(&known).unwrap();
    let spec = Spec {
        name: "dnsmasq",
        program: "dnsmasq".into(),
        arguments: [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            // What is not known is not there: nobody else is asked.
            "--address=/#/",
            &format!("--listen-address={SERVER}"),
            // Read again whenever a file in it is new.
            &format!("--hostsdir={}", known.display()),
        ]
        .map(str::to_owned)
        .into(),
        environment: vec![],
        folder: None,
        log: folder.join("dnsmasq.log"),
    };
    Process::start(&spec).unwrap()
}

/// Makes a name known, to pods and on this machine.
pub fn add(name: &str, address: &str) {
    let line = format!("{address} {name}\n");
    let mut hosts = File::options().append(true).open(folder().join("hosts")).unwrap();
    hosts.write_all(line.as_bytes()).unwrap();
    // A search list comes first: see resolv.conf(5), ndots.
    fs::write(
        folder().join("names").join(name),
        format!("{address} {name} {name}.cluster.local\n"),
    )
    .unwrap();
}
