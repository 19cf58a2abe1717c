//! Packages of the workspace that a package needs to be built and its manifest does not name: what the `references` of its TypeScript settings
//! have `tsc --build` make first, and bundlers look for; what their `paths` give a name that its scripts import; whoever has the schema that
//! its Prisma client is generated from.

use serde_json::Value;

use super::load::{PackageId, Workspace};
use super::sources::with_comments;
use super::tools;
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;
use pnpm::join;
use pnpm::lock::Target;

/// The settings files that an image may be built by. A test's or a linter's are not.
const FILES: [&str; 6] =
    ["tsconfig.json", "tsconfig.app.json", "tsconfig.build.json", "tsconfig.node.json", "tsconfig.prod.json", "jsconfig.json"];

/// The packages, each with the settings file that leads there.
pub(super) fn of(workspace: &Workspace, id: PackageId) -> SortedMap<PackageId, String> {
    let mut found = SortedMap::new();
    if id == workspace.root_package() {
        return found;
    }
    let package = workspace.package(id);
    found.extend(generated(workspace, id));
    for file in FILES.map(|name| package.path(name)) {
        let text = workspace.contents().text(&file).filter(|text| text.contains("\".."));
        let Some(settings) = text.and_then(|text| with_comments(&text)) else { continue };
        for to in references(&settings).filter_map(|path| undeclared(workspace, id, &package.dir, path)) {
            found.entry(to).or_insert_with(|| file.clone());
        }
        let options = &settings["compilerOptions"];
        let base = options["baseUrl"].as_str().and_then(|base| join(&package.dir, base)).unwrap_or_else(|| package.dir.clone());
        for (alias, places) in options["paths"].as_object().into_iter().flatten() {
            let places = places.as_array().into_iter().flatten().filter_map(Value::as_str);
            let named: Vec<PackageId> = places.filter_map(|path| undeclared(workspace, id, &base, path)).into_vec();
            // Settings are copied from package to package: what counts is what is imported.
            if named.iter().any(|to| !found.contains_key(to))
                && tools::imports(workspace, &package.dir, alias.trim_end_matches("/*"))
            {
                found.extend(named.into_iter().map(|to| (to, file.clone())));
            }
        }
    }
    found
}

/// The package that generates the Prisma client of another which has no schema: both have the same entry of the lock, so the same folder.
fn generated(workspace: &Workspace, id: PackageId) -> Option<(PackageId, String)> {
    const SCHEMAS: [&str; 3] = ["prisma/schema.prisma", "schema.prisma", "prisma.config.ts"];
    let client = |id: PackageId| {
        let lock = workspace.scanned()?;
        let importer = lock.importer(&workspace.package(id).dir)?;
        let (_, dependency) = lock.dependencies(importer).find(|(_, dependency)| dependency.alias == "@prisma/client")?;
        if let Target::Snapshot(at) = &dependency.target { Some(*at) } else { None }
    };
    let schema = |id: PackageId| {
        let files = SCHEMAS.map(|file| workspace.package(id).path(file));
        files.into_iter().find(|file| !workspace.contents().start(file, 1).is_empty())
    };
    let own = client(id)?;
    let needs =
        |to: PackageId| workspace.package(id).manifest.all_dependencies().any(|(name, ..)| name == workspace.package(to).name());
    let all = workspace.ids().filter(|to| *to != workspace.root_package() && client(*to) == Some(own));
    let mut makers = all.filter_map(|to| Some((to, schema(to)?)));
    let (first, others) = (makers.next()?, makers.next());
    // Who has one of its own, or needs a package that has, is not in want of another.
    (others.is_none() && first.0 != id && !needs(first.0)).then_some(first)
}

fn references(settings: &Value) -> impl Iterator<Item = &str> {
    settings["references"].as_array().into_iter().flatten().filter_map(|project| project["path"].as_str())
}

/// The package that a path outside of a package leads into, where that has no dependency on it.
fn undeclared(workspace: &Workspace, id: PackageId, dir: &str, path: &str) -> Option<PackageId> {
    let plain: Vec<&str> = path.split('/').take_while(|part| !part.contains('*')).into_vec();
    let to = workspace.owner(&join(dir, &plain.join("/"))?);
    let name = workspace.package(to).manifest.name.as_deref();
    let is_declared = workspace.package(id).manifest.all_dependencies().any(|(dependency, ..)| Some(dependency) == name);
    (to != id && to != workspace.root_package() && !is_declared).then_some(to)
}
