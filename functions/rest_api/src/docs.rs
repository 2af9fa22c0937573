//! The documentation: the OpenAPI document and a page that shows it. The binary holds the page's files, compressed, so
//! the page works offline. All addresses are relative, so it works under any path.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use crate::problem::Problem;

const PAGE: &str = include_str!("docs.html");

/// The page needs these files of the bundle and no others.
const FILES: [&str; 3] = ["favicon-32x32.png", "swagger-ui-bundle.js", "swagger-ui.css"];

/// The files change only with the program.
const CACHE: &str = "public, max-age=3600";

pub(crate) fn router(document: OpenApi) -> Router {
    let document = Arc::new(document);
    Router::new()
        .route("/openapi.json", get(async move || Json(document.as_ref().clone())))
        .route("/docs", get(async || Html(PAGE)))
        .route("/docs/{file}", get(file))
}

async fn file(Path(name): Path<String>) -> Response {
    let known = FILES.contains(&name.as_str());
    match utoipa_swagger_ui::serve(&name, Arc::new(Config::from("openapi.json"))) {
        Ok(Some(file)) if known => {
            let mut response = (StatusCode::OK, file.bytes.into_owned()).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static(CACHE));
            if let Ok(kind) = file.content_type.parse() {
                headers.insert(header::CONTENT_TYPE, kind);
            }
            if file.gzpipped {
                headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
            }
            response
        }
        _ => Problem::not_found(format!("The documentation has no file {name}")).into_response(),
    }
}
