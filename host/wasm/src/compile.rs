//! Where machine code is made of components: in this process, or where an embedder wants it.
//!
//! Compiling takes much memory for a moment, and the allocator of a process keeps what it once
//! had. Whoever wants to stay small compiles in a process that ends: a [`Compiler`] starts it, and
//! [`compile`] is what it does.
//!
//! **Invariant:** machine code comes from [`compile`], or from somebody who vouches for it.

use std::fmt;

use crate::{artifact::guarded, engine, error::Cause};

/// Makes machine code of components.
pub trait Compiler: fmt::Debug + Send + Sync {
    /// Makes machine code of a valid component, as [`compile`] does. Blocks.
    ///
    /// # Errors
    ///
    /// It cannot be compiled, or not here and now.
    fn compile(&self, component: &[u8]) -> Result<MachineCode, Cause>;
}

/// Compiles in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct InProcess;

impl Compiler for InProcess {
    fn compile(&self, component: &[u8]) -> Result<MachineCode, Cause> {
        compile(component)
    }
}

/// Machine code for the engine of this program.
pub struct MachineCode(Vec<u8>);

impl MachineCode {
    /// Machine code that was compiled elsewhere.
    ///
    /// # Safety
    ///
    /// The bytes are those of a [`MachineCode`] that this same program made, and nobody else can
    /// have changed them since: they are run as they are.
    #[expect(unsafe_code, reason = "the caller vouches for what is run")]
    pub unsafe fn trusted(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MachineCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MachineCode({} bytes)", self.0.len())
    }
}

/// Makes machine code of a valid component, here and now.
///
/// # Errors
///
/// The compiler refuses it, or breaks.
pub fn compile(component: &[u8]) -> Result<MachineCode, Cause> {
    let code = guarded(|| engine::compile(component).map_err(|error| format!("{error:#}")));
    code.map(MachineCode)
}
