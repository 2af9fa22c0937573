//! Functions to build in tests.

use std::path::Path;
use std::time::Duration;

use samovar_template::{BuildMethod, Code, EventInvokeConfig, Function};

/// A function with nothing but a name, a runtime and a folder.
pub(crate) fn function(id: &str, runtime: &str, code_dir: &Path) -> Function {
    Function {
        logical_id: id.to_owned(),
        name: id.to_owned(),
        function_name: format!("local-{id}"),
        arn: format!("arn:aws:lambda:us-east-1:000000000000:function:local-{id}"),
        code: Code::Folder,
        code_dir: code_dir.to_owned(),
        runtime: runtime.to_owned(),
        handler: "app.handler".to_owned(),
        build_method: BuildMethod::None,
        binary: None,
        memory_mb: 128,
        timeout: Duration::from_secs(3),
        reserved_concurrency: None,
        environment: std::collections::BTreeMap::new(),
        local_environment: Vec::new(),
        policies: Vec::new(),
        event_sources: Vec::new(),
        schedules: Vec::new(),
        triggers: Vec::new(),
        event_invoke: EventInvokeConfig::default(),
        rules: Vec::new(),
        url: None,
    }
}
