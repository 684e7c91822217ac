//! [`Lifecycle`]: init, unseal and seal of this node, with everything that has to follow each of them.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::cluster::{ClusterTls, new_cluster_authority};
use crate::base::clock::Clock;
use crate::base::random::Random;
use crate::base::secret::{SecretBytes, SecretString};
use crate::vault::core::{Core, CoreError, FirstMount, InitAnswer, InitParams, SealStatus};
use crate::vault::ha::{Ha, Role};
use crate::vault::physical::{Backend, LockName};

/// How long a question about the storage may take before the last known answer is given.
const LOOK: Duration = Duration::from_secs(2);
/// How long the leadership may take to move before this node seals all the same.
const STEP_DOWN: Duration = Duration::from_secs(10);

/// What init asks of the lifecycle, besides what only it knows.
#[derive(Debug, Clone, Default)]
pub struct InitWish {
    /// Shamir: number of shares.
    pub secret_shares: u8,
    /// Shamir: shares needed.
    pub secret_threshold: u8,
    /// Automatic seals: number of recovery shares.
    pub recovery_shares: u8,
    /// Automatic seals: recovery shares needed.
    pub recovery_threshold: u8,
    /// With the same secret a repeated init gives the same answer.
    pub nonce: Option<SecretString>,
    /// A root token that somebody chose.
    pub root_token: Option<SecretString>,
    /// Mounts besides the usual ones.
    pub mounts: Vec<FirstMount>,
}

/// This node between sealed and unsealed.
pub struct Lifecycle {
    /// The kernel.
    pub core: Arc<Core>,
    /// Leadership.
    pub ha: Arc<Ha>,
    /// The storage.
    pub backend: Arc<dyn Backend>,
    /// The lock's name, as the head of a new vault records it.
    pub lock: LockName,
    /// TLS with peers.
    pub cluster_tls: Arc<ClusterTls>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl Lifecycle {
    /// Whether the storage holds a vault: asked anew while none is known of, at most two seconds.
    pub async fn look(&self) -> SealStatus {
        if !self.core.seal_status().initialized {
            match tokio::time::timeout(LOOK, self.core.load(&*self.backend)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => warn!(%error, "the storage does not say whether it holds a vault"),
                Err(_) => warn!("the storage does not answer"),
            }
        }
        self.core.seal_status()
    }

    /// Creates the vault, and unseals it here if the seal does that by itself.
    ///
    /// # Errors
    /// See [`Core::initialise`].
    pub async fn initialise(&self, wish: InitWish) -> Result<InitAnswer, CoreError> {
        let cluster_authority = new_cluster_authority(self.clock.unix(), &*self.random)
            .map_err(|error| CoreError::Internal(error.to_string()))?;
        let params = InitParams {
            secret_shares: wish.secret_shares,
            secret_threshold: wish.secret_threshold,
            recovery_shares: wish.recovery_shares,
            recovery_threshold: wish.recovery_threshold,
            nonce: wish.nonce,
            cluster_authority,
            root_token: wish.root_token,
            mounts: wish.mounts,
        };
        let node = self.ha.settings().identity.clone();
        let answer = self.core.initialise(&*self.backend, self.lock.clone(), &node, params).await?;
        info!("the vault is initialised");
        if let Err(error) = self.auto_unseal().await {
            // The caller must get the keys whatever comes after: unsealing is tried again by itself.
            warn!(%error, "the new vault could not be unsealed yet");
        }
        Ok(answer)
    }

    /// Gives one share; with the last one needed the node unseals.
    ///
    /// # Errors
    /// See [`Core::unseal`].
    pub async fn unseal(&self, share: SecretBytes) -> Result<SealStatus, CoreError> {
        let was_sealed = self.core.is_sealed();
        let status = self.core.unseal(&*self.backend, share).await?;
        if was_sealed && !status.sealed {
            self.opened()?;
        }
        Ok(status)
    }

    /// Unseals by an automatic seal; false if there is nothing to unseal yet or the seal is not automatic.
    ///
    /// # Errors
    /// See [`Core::auto_unseal`].
    pub async fn auto_unseal(&self) -> Result<bool, CoreError> {
        let was_sealed = self.core.is_sealed();
        let is_open = self.core.auto_unseal(&*self.backend).await?;
        if was_sealed && is_open {
            self.opened()?;
        }
        Ok(is_open)
    }

    fn opened(&self) -> Result<(), CoreError> {
        let authority = self
            .core
            .cluster_authority()
            .ok_or_else(|| CoreError::Internal("the cluster's authority is missing".to_owned()))?;
        let installed = self.cluster_tls.install(&authority, self.clock.unix(), &*self.random);
        if let Err(error) = installed {
            self.core.seal();
            return Err(CoreError::Internal(format!("this node cannot speak with its peers: {error}")));
        }
        self.ha.notify_unsealed();
        info!("the vault is unsealed");
        Ok(())
    }

    /// Seals this node: hands the leadership over first, if it has it and another node can take it.
    pub async fn seal(&self) {
        if let Ok(Err(error)) = tokio::time::timeout(STEP_DOWN, self.ha.step_down()).await {
            info!(%error, "this node seals without a handover");
        }
        self.close();
    }

    fn close(&self) {
        self.core.seal();
        self.ha.notify_sealed();
        self.cluster_tls.clear();
        info!("the vault is sealed");
    }

    /// Takes up keys that another node has changed. A node that can read nothing new any more, nor ever lead, seals itself
    /// and so shows that it needs people; the active node goes on with the keys that it has.
    ///
    /// # Errors
    /// When the storage cannot answer.
    pub async fn follow_keys(&self) -> Result<(), CoreError> {
        match self.core.follow_keys(&*self.backend).await {
            Ok(true) | Err(CoreError::Sealed) => return Ok(()),
            Ok(false) => {}
            Err(error) => return Err(error),
        }
        if matches!(self.ha.status().borrow().role, Role::Active { .. }) {
            error!(
                "the stored keys are damaged: this node goes on with its own, but none could start with them"
            );
            return Ok(());
        }
        warn!("the keys changed while this node was away: unseal it with the present shares");
        self.close();
        Ok(())
    }
}
