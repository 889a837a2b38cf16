//! Runs scripts as a Redis server does: Lua 5.1, and as much of the `redis` table as ours use.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use mlua::{Error, Function, IntoLua, Lua, MultiValue, Table, Value};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::{
    mutants,
    reply::Reply,
    server::{Client, Server},
};

thread_local! {
    static SCRIPTS: Scripts = Scripts::new().expect("a Lua");
    /// The server on which a script runs.
    static SERVER: RefCell<Option<Rc<RefCell<Server>>>> = const { RefCell::new(None) };
}

/// A script's text, and the rule that is left out there.
type Script = (Option<&'static str>, Vec<u8>);

struct Scripts {
    lua: Lua,
    compiled: RefCell<HashMap<Script, Function>>,
}

/// Runs a script on a server.
pub fn eval(server: &Rc<RefCell<Server>>, script: &[u8], keys: &[Vec<u8>], args: &[Vec<u8>]) -> Reply {
    SERVER.set(Some(server.clone()));
    let reply = SCRIPTS.with(|scripts| scripts.run(script, keys, args));
    SERVER.set(None);
    reply.unwrap_or_else(|error| Reply::error(&format!("ERR {}", error.to_string().replace(['\r', '\n'], " "))))
}

impl Scripts {
    fn new() -> mlua::Result<Self> {
        let lua = Lua::new();
        let redis = lua.create_table()?;
        redis.set("call", lua.create_function(|lua, args| call(lua, args, true))?)?;
        redis.set("pcall", lua.create_function(|lua, args| call(lua, args, false))?)?;
        redis.set(
            "sha1hex",
            lua.create_function(|_, text: mlua::String| {
                let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &text.as_bytes());
                Ok(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            })?,
        )?;
        redis.set(
            "error_reply",
            lua.create_function(|lua, text: mlua::String| {
                let reply = lua.create_table()?;
                reply.set("err", text)?;
                Ok(reply)
            })?,
        )?;
        lua.globals().set("redis", redis)?;
        Ok(Scripts { lua, compiled: RefCell::default() })
    }

    fn run(&self, script: &[u8], keys: &[Vec<u8>], args: &[Vec<u8>]) -> mlua::Result<Reply> {
        let compiled = (mutants::in_scripts(), script.to_vec());
        let known = self.compiled.borrow().get(&compiled).cloned();
        let function = match known {
            Some(function) => function,
            None => {
                let text = mutants::mutated(script);
                let function = self.lua.load(text).set_name("@user_script").into_function()?;
                self.compiled.borrow_mut().insert(compiled, function.clone());
                function
            }
        };
        for (name, values) in [("KEYS", keys), ("ARGV", args)] {
            let strings = values.iter().map(|value| self.lua.create_string(value)).collect::<mlua::Result<Vec<_>>>()?;
            self.lua.globals().set(name, self.lua.create_sequence_from(strings)?)?;
        }
        reply_of(function.call(())?)
    }
}

fn call(lua: &Lua, args: MultiValue, raises: bool) -> mlua::Result<Value> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(format!("{number:.17}").trim_end_matches('0').trim_end_matches('.').into()),
        _ => Err(Error::runtime("Lua redis lib command arguments must be strings or integers")),
    };
    let command = args.iter().map(text).collect::<mlua::Result<Vec<_>>>()?;
    let server = SERVER.with_borrow(Clone::clone).ok_or_else(|| Error::runtime("no server"))?;
    let mut client = Client { number: 0, sender: None, resp3: false };
    match server.borrow_mut().execute(&mut client, &command) {
        Reply::Error(error) if raises => Err(Error::runtime(error)),
        reply => value_of(lua, reply),
    }
}

fn value_of(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    let field = |name: &str, text: String| {
        let table = lua.create_table()?;
        table.set(name, text)?;
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Nil => Ok(Value::Boolean(false)),
        Reply::Int(number) => Ok(Value::Number(number as f64)),
        Reply::Bulk(bytes) => lua.create_string(&bytes)?.into_lua(lua),
        Reply::Status(text) => field("ok", text),
        Reply::Error(text) => field("err", text),
        Reply::Array(parts) | Reply::Push(parts) => {
            let values = parts.into_iter().map(|part| value_of(lua, part)).collect::<mlua::Result<Vec<_>>>()?;
            Ok(Value::Table(lua.create_sequence_from(values)?))
        }
        Reply::Map(_) | Reply::Each(_) => Err(Error::runtime("no script gets this")),
    }
}

fn reply_of(value: Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::Boolean(true) => Reply::Int(1),
        Value::Integer(number) => Reply::Int(number),
        Value::Number(number) => Reply::Int(number as i64),
        Value::String(text) => Reply::Bulk(text.as_bytes().to_vec()),
        Value::Table(table) => reply_of_table(&table)?,
        _ => Reply::Nil,
    })
}

fn reply_of_table(table: &Table) -> mlua::Result<Reply> {
    if let Some(error) = table.get::<Option<String>>("err")? {
        return Ok(Reply::Error(error));
    }
    if let Some(status) = table.get::<Option<String>>("ok")? {
        return Ok(Reply::Status(status));
    }
    let mut parts = Vec::new();
    for index in 1.. {
        match table.raw_get(index)? {
            Value::Nil => break,
            value => parts.push(reply_of(value)?),
        }
    }
    Ok(Reply::Array(parts))
}
