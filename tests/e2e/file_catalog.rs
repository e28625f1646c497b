//! The file provider: a file dropped into a folder is in use.

use crate::support::{Backend, Config, Portolan, eventually};

const PROVIDER: &str = "[providers.static]\nplugin = \"file\"\n\
    config = { directory = \"dynamic\" }\ngrants = { files = [\"dynamic\"] }\n";

#[tokio::test]
async fn a_file_is_in_use_while_it_is_there_and_its_last_good_content_while_it_is_broken() {
    let backend = Backend::start("static").await;
    let config = Config::new(PROVIDER);
    let portolan = Portolan::start(&config);
    let file = config.path("dynamic/shop.toml");
    let rule = "[http.routers.shop]\nrule = \"Host(`shop.local`)\"\nservice = \"shop\"\n";
    let service = format!(
        "[http.services.shop.load-balancer]\nservers = [{{ url = \"{}\" }}]\n",
        backend.url()
    );
    std::fs::write(&file, format!("{rule}{service}")).unwrap();
    eventually(|| portolan.http().get("shop.local", "/"), |a| a.status == 200).await;
    assert!(portolan.dns().a("shop.local").await.is(&["127.0.0.9"]));

    std::fs::write(&file, format!("{rule}[http.services.shop\n")).unwrap();
    let problems = eventually(
        || async { portolan.api("/api/problems").await.to_string() },
        |problems| problems.contains("shop.toml"),
    )
    .await;
    assert!(problems.contains("line 4") || problems.contains(":4"), "{problems}");
    assert_eq!(portolan.http().get("shop.local", "/").await.status, 200);

    std::fs::remove_file(&file).unwrap();
    eventually(|| portolan.http().get("shop.local", "/"), |a| a.status == 404).await;
}
