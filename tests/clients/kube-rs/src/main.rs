//! Lists, watches and runs a command; lists again when the first token has expired.

use std::{error::Error, io};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client,
    api::{AttachParams, ListParams, WatchEvent, WatchParams},
};
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::try_default().await?;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    for pod in pods.list(&ListParams::default()).await? {
        println!("{}", pod.metadata.name.unwrap_or_default());
    }

    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut events = Box::pin(maps.watch(&WatchParams::default(), "0").await?);
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::Modified(map) = event {
            println!("{}", map.metadata.name.unwrap_or_default());
            break;
        }
    }

    assert_eq!(exec(&pods, "hello").await?, "hello\n");

    println!("wait");
    io::stdin().read_line(&mut String::new())?;
    assert_eq!(pods.list(&ListParams::default()).await?.items.len(), 1);
    assert_eq!(exec(&pods, "again").await?, "again\n");
    Ok(())
}

async fn exec(pods: &Api<Pod>, word: &str) -> Result<String, Box<dyn Error>> {
    let mut process = pods.exec("web", ["echo", word], &AttachParams::default().stderr(false)).await?;
    let mut output = String::new();
    process.stdout().ok_or("no output")?.read_to_string(&mut output).await?;
    process.join().await?;
    Ok(output)
}
