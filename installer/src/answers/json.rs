//! The JSON Schema (draft 2020-12), for editors. It says what single values look like;
//! what must fit together only `hearth answers check` knows.

use serde_json::{Map, Value, json};

use super::record::{Field, Record as _, Shape, Table};
use super::schema::Answers;

/// The schema of an answer file.
pub fn json_schema() -> Value {
    let mut schema = table(&Answers::table());
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("hearth.toml");
    schema
}

fn table(table: &Table) -> Value {
    let properties: Map<String, Value> =
        table.fields.iter().map(|field| (field.key.clone(), property(field))).collect();
    let required: Vec<&str> =
        table.fields.iter().filter(|field| field.required).map(|field| field.key.as_str()).collect();
    json!({
        "description": table.about,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(field: &Field) -> Value {
    let mut value = shape(&field.shape);
    value["description"] = json!(field.about);
    // The defaults are all of kinds whose TOML is JSON.
    if let Some(default) = field.default.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        value["default"] = default;
    }
    value
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text(text) => {
            let mut value = json!({ "type": "string", "description": text.what });
            if let Some(pattern) = text.pattern {
                value["pattern"] = json!(pattern);
            }
            if text.secret {
                value["writeOnly"] = json!(true);
            }
            value
        }
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Number(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Switch => json!({ "type": "boolean" }),
        Shape::List(item) => json!({ "type": "array", "items": self::shape(item) }),
        Shape::Table(inner) => table(inner),
        Shape::Either(one, other) => json!({ "anyOf": [self::shape(one), self::shape(other)] }),
    }
}
