//! The chart on real nodes: kubelets and containerd run the pods of the image, in namespaces that end with the test.
//!
//! `make test-node` makes the images and runs this program by `namespaces.sh`, which gives it a network, mounts and cgroups of its
//! own. Two nodes, so that one can be drained; both are this machine. There is no cloud and no cluster DNS: the tests write a
//! load balancer's address into the Service's status, and names into the files that dnsmasq and this machine's resolver read.

mod certificates;
mod disturbances;
mod install;
mod issuer;
mod names;
mod nodes;
mod published;
mod quickstart;
mod release;
mod traffic;
