"""Every condition type, reason and event reason, each with one sentence. The only place where they are spelled.

Reasons are CamelCase and stable: alerts, dashboards and runbooks name them. `docs/reasons.md` is generated from here.
"""

from enum import StrEnum
from typing import Self


class _Documented(StrEnum):
    """A string constant that carries the sentence that explains it."""

    sentence: str

    def __new__(cls, value: str, sentence: str = "") -> Self:
        # The default is for the type checker: looking a member up by its value takes the value alone.
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


class ConditionType(_Documented):
    """Condition types of a ModelDeployment; all of positive polarity, except for kstatus's own pair."""

    READY = "Ready", "The current spec is active: promoted, and its pods serve."
    AVAILABLE = "Available", "Some promoted revision has ready pods behind the Service."
    LINEAGE_VERIFIED = "LineageVerified", "The candidate's run and logged model exist, agree and are complete."
    IMAGE_VERIFIED = (
        "ImageVerified",
        "The candidate's image is pinned by digest, allowed, and holds the registered model.",
    )
    ENVIRONMENT_MATCHED = "EnvironmentMatched", "The image's environment equals the recorded training environment."
    READINESS_PROVEN = "ReadinessProven", "The candidate's pods are ready and passed the readiness audit."
    PROMOTED = "Promoted", "The candidate has become the active revision."
    RECONCILING = "Reconciling", "Lockstep is working towards the current spec (kstatus)."
    STALLED = "Stalled", "Nothing proceeds until somebody changes something (kstatus)."


class PolicyConditionType(_Documented):
    """Condition types of a PromotionPolicy."""

    ACCEPTED = "Accepted", "This version of Lockstep understands the policy and decides by it."
    REPOSITORIES_RESTRICTED = "RepositoriesRestricted", "The policy names the repositories that images may come from."


class Reason(_Documented):
    """Reasons of gate results, conditions and refusals: a closed list."""

    # --- outcomes ------------------------------------------------------------------------------------------------
    PASSED = "Passed", "The gate passed."
    GATHERING = "Gathering", "The model registry or the image registry is being asked and has not answered yet."
    WAITING = "Waiting", "An earlier gate has to pass first."
    PROMOTED = "Promoted", "The revision is active."
    PROGRESSING = "Progressing", "The candidate is being checked or rolled out."
    SWITCHING = "Switching", "The revision is promoted and the Service is being switched to its pods."
    PAUSED = "Paused", "spec.paused is true: the candidate is not promoted until it is false."
    NOTHING_ACTIVE = "NothingActive", "No revision has been promoted yet."
    PODS_NOT_READY = "PodsNotReady", "The active revision has no ready pods."
    ACTIVE_POD_TAMPERED = (
        "ActivePodTampered",
        "A pod that gets traffic is not the pod that was promoted, and no other one is ready in its place.",
    )
    FOREIGN_POD = "ForeignPod", "Pods that Lockstep did not ask for bear the labels by which the Service selects."
    UPKEEP_REFUSED = "UpkeepRefused", "The cluster refuses or undoes what would keep the active revision as it was promoted."
    DELETING = "Deleting", "The ModelDeployment is being deleted: nothing is kept up or checked any more."
    INTERNAL_ERROR = "InternalError", "Lockstep itself failed; the step is tried again."

    # --- the command line ----------------------------------------------------------------------------------------
    DEPENDENCY_MISSING = "DependencyMissing", "A program or Python package that the command needs is not installed."
    KUBECTL_FAILED = "KubectlFailed", "The program kubectl did not answer, or refused; the message is its own."
    SETTING_INVALID = "SettingInvalid", "An environment variable that the command reads can't be understood."
    OUTPUT_NOT_WRITTEN = "OutputNotWritten", "The file that the command was to write could not be written."

    # --- what governs -------------------------------------------------------------------------------------------
    POLICY_MISSING = "PolicyMissing", "No PromotionPolicy applies to this namespace."
    POLICY_INVALID = "PolicyInvalid", "The PromotionPolicy can't be understood or more than one is marked default."
    POLICY_UNDERSTOOD = "PolicyUnderstood", "The PromotionPolicy is understood."
    REPOSITORIES_LISTED = "RepositoriesListed", "The policy lists the repositories that images may come from."
    ALL_REPOSITORIES_ALLOWED = (
        "AllRepositoriesAllowed",
        "The policy allows images from everywhere: whoever writes ModelDeployments chooses the registry.",
    )
    GATE_UNKNOWN = "GateUnknown", "The policy names a gate that this version of Lockstep does not have."
    SPEC_INVALID = "SpecInvalid", "The ModelDeployment can't be understood."
    GUARDS_MISSING = (
        "GuardsMissing",
        "The guarding admission policies are not in place as the chart installs them, so nothing is promoted.",
    )
    NAME_CONFLICT = (
        "NameConflict",
        "A Service, PodDisruptionBudget or Deployment of this name exists that Lockstep does not own.",
    )
    FOREIGN_SERVICE = "ForeignService", "Another Service selects the candidate's pods."
    REVISION_FORGED = "RevisionForged", "What has the name of the candidate's ControllerRevision was not written by Lockstep."
    SPEC_TOO_LARGE = "SpecTooLarge", "The pods that the spec asks for are described by more than a cluster stores."
    PRIORITY_NOT_ALLOWED = (
        "PriorityNotAllowed",
        "The candidate's PriorityClass would let its pods push away those that serve, or does not exist.",
    )

    # --- lineage ------------------------------------------------------------------------------------------------
    REGISTRY_UNREACHABLE = "RegistryUnreachable", "The model registry (MLflow) did not answer."
    REGISTRY_REFUSED = "RegistryRefused", "The model registry (MLflow) refused the operator's credentials or host name."
    MODEL_NOT_ALLOWED = "ModelNotAllowed", "The policy does not allow this registered model."
    VERSION_NOT_FOUND = "VersionNotFound", "The registered model or the version does not exist."
    VERSION_NOT_READY = "VersionNotReady", "The model version is registered but not READY yet."
    ALIAS_NOT_FOUND = "AliasNotFound", "The registered model has no such alias."
    RUN_MISSING = "RunMissing", "The version names no run, or its run does not exist."
    RUN_DELETED = "RunDeleted", "The run that made this version has been deleted."
    RUN_NOT_FINISHED = "RunNotFinished", "The run that made this version is not FINISHED."
    LINEAGE_CONFLICT = "LineageConflict", "Version, logged model, run and MLmodel do not name one another."
    LINEAGE_INCOMPLETE = "LineageIncomplete", "The run lacks something that the policy requires."
    LINEAGE_CHANGED = "LineageChanged", "What the version declares is not what it declared when it was first seen."
    MODEL_READING = "ModelReading", "The model's files are being read from the model registry."
    MODEL_FILES_UNREADABLE = (
        "ModelFilesUnreadable",
        "The model registry answers, but can't give or list the files of the version.",
    )
    MODEL_FILES_REFUSED = (
        "ModelFilesRefused",
        "The version has more files or bytes than are read, or names that can't be compared; the message says which.",
    )
    ENVIRONMENT_NOT_RECORDED = "EnvironmentNotRecorded", "The training run recorded no environment document."
    ENVIRONMENT_DIGEST_CONFLICT = (
        "EnvironmentDigestConflict",
        "The stored environment document does not have the digest that the run recorded for it.",
    )
    ENVIRONMENT_DOCUMENT_INVALID = "EnvironmentDocumentInvalid", "The stored environment document can't be read."

    # --- image --------------------------------------------------------------------------------------------------
    REFERENCE_INVALID = "ReferenceInvalid", "The image reference can't be parsed."
    REPOSITORY_NOT_ALLOWED = "RepositoryNotAllowed", "The policy does not allow images from this repository."
    IMAGE_NOT_FOUND = "ImageNotFound", "The registry has no such image, tag or digest."
    IMAGE_REGISTRY_UNREACHABLE = "ImageRegistryUnreachable", "The image registry did not answer."
    IMAGE_REGISTRY_RATE_LIMITED = "ImageRegistryRateLimited", "The image registry asks to slow down."
    REGISTRY_ADDRESS_REFUSED = (
        "RegistryAddressRefused",
        "The image registry, or what it sends to, has an address that the operator may not reach.",
    )
    IMAGE_UNAUTHORIZED = "ImageUnauthorized", "The image registry refused the credentials of the namespace."
    PULL_SECRET_INVALID = "PullSecretInvalid", "A pull secret is missing or can't be read."
    PLATFORM_NOT_FOUND = "PlatformNotFound", "The image has no variant for the cluster's platform."
    MANIFEST_INVALID = "ManifestInvalid", "The image's manifest, index or configuration is malformed or unsupported."
    DIGEST_MISMATCH = "DigestMismatch", "The registry delivered bytes that do not have the digest they were asked by."
    BASE_IMAGE_NOT_LISTED = "BaseImageNotListed", "The image is not built on one of the base images that the policy lists."
    IMAGE_LACKS_VERSION = "ImageLacksVersion", "The model inside the image is not the registered version."
    MODEL_NOT_IN_IMAGE = (
        "ModelNotInImage",
        "The policy requires the registered model inside the image and it is not there.",
    )
    MODEL_FILES_DIFFER = "ModelFilesDiffer", "The files of the model inside the image are not those of the registered version."
    SERVED_MODEL_UNKNOWN = (
        "ServedModelUnknown",
        "The image holds several models, or fetches one by a name that moves, and does not say which one is served.",
    )
    SERVED_MODEL_DIFFERS = "ServedModelDiffers", "What the image is configured to serve is not the registered model in it."

    # --- signatures ---------------------------------------------------------------------------------------------
    SIGNATURE_MISSING = "SignatureMissing", "The image lacks signatures of as many keys as the policy requires."
    SIGNATURE_INVALID = "SignatureInvalid", "The image is signed, but with none of the policy's keys."
    SIGNATURE_SUBJECT_MISMATCH = (
        "SignatureSubjectMismatch",
        "What is kept as the image's signature was made with one of the policy's keys for another image.",
    )
    ATTESTATION_MISSING = "AttestationMissing", "The image lacks the signed environment that the policy requires."
    ATTESTATION_UNTRUSTED = "AttestationUntrusted", "The image's attestations are signed with none of the policy's keys."
    ATTESTATION_PREDICATE_MISMATCH = (
        "AttestationPredicateMismatch",
        "The image's attestations by the policy's keys state something other than its environment.",
    )
    ATTESTATION_SUBJECT_MISMATCH = (
        "AttestationSubjectMismatch",
        "What is kept as the image's attestation was made with one of the policy's keys for another image.",
    )
    ATTESTATION_INVALID = "AttestationInvalid", "An attestation of the image is malformed."
    ATTESTATION_CONFLICT = "AttestationConflict", "Two attestations by the policy's keys state different environments."
    ATTESTATION_MISMATCH = "AttestationMismatch", "The attested environment is not the one that is in the image's layers."
    REFERRERS_EXCEEDED = "ReferrersExceeded", "The image has more signatures, attestations or referrers than are read."
    KEY_INVALID = "KeyInvalid", "A signing or verifying key can't be read, or is of a kind that is not used."
    DOCUMENT_UNSIGNED = "DocumentUnsigned", "The training environment is not signed, and the policy requires that it is."
    DOCUMENT_SIGNATURE_INVALID = (
        "DocumentSignatureInvalid",
        "The signature of the training environment is not of the policy's keys, or is about something else.",
    )

    # --- layer scan ---------------------------------------------------------------------------------------------
    SCANNING = "Scanning", "The image's layers are being read."
    LAYER_CORRUPT = "LayerCorrupt", "A layer can't be decompressed or is no tar archive."
    LAYER_AMBIGUOUS = "LayerAmbiguous", "Container runtimes read a layer differently, so its content could not be determined."
    LIMIT_EXCEEDED = "LimitExceeded", "The image exceeds a limit of the scan, which the message names."
    SCAN_TIMEOUT = "ScanTimeout", "The scan did not end before its deadline."
    SCAN_FAILED = "ScanFailed", "The process that reads the image ended before its work was done; it is tried again."
    INTERPRETER_NOT_FOUND = "InterpreterNotFound", "No Python interpreter was found in the image."
    TO_BE_OBSERVED = (
        "ToBeObserved",
        "The candidate's pods start without traffic, and the processes that answer show which environment they run in.",
    )
    OBSERVER_UNAVAILABLE = (
        "ObserverUnavailable",
        "The observer of a pod's processes does not start: its image can't be had, or the node does not support it.",
    )
    OBSERVER_FORBIDDEN = "ObserverForbidden", "The API server does not let the observer into the candidate's pods."
    OBSERVER_FAILED = "ObserverFailed", "The observer ended without a report that says which processes answer."
    CODE_NOT_OF_IMAGE = (
        "CodeNotOfImage",
        "A process of the server runs code, or could import a package, that is not in the image.",
    )
    INTERPRETER_AMBIGUOUS = "InterpreterAmbiguous", "Which Python interpreter the image starts could not be determined."
    METADATA_INVALID = "MetadataInvalid", "The metadata of an installed distribution is malformed or ambiguous."
    SYSTEM_UNVERIFIABLE = "SystemUnverifiable", "The image's system package database can't be read."
    FILE_UNREADABLE = "FileUnreadable", "A file that is evidence can't be read."

    # --- environment --------------------------------------------------------------------------------------------
    ENVIRONMENT_MISMATCH = "EnvironmentMismatch", "The image's environment differs from the training environment."
    REQUIRED_SET_UNPROVEN = (
        "RequiredSetUnproven",
        "No successful reload and prediction proves which packages the model needs.",
    )
    REQUIRED_SET_INCOMPLETE = (
        "RequiredSetIncomplete",
        "The recorded set of required packages lacks the model's framework.",
    )

    VARIABLE_NOT_ALLOWED = (
        "VariableNotAllowed",
        "spec.template.env sets a variable that is neither known to be harmless nor allowed by the policy.",
    )
    IMAGE_VARIABLE_NOT_ALLOWED = (
        "ImageVariableNotAllowed",
        "The image's own configuration sets a variable that runs or chooses code where the scan does not search.",
    )
    WRITABLE_PATH = (
        "WritablePath",
        "What the image serves, or imports from, lies in a directory that its pods can write to, or may lie there.",
    )

    # --- readiness ----------------------------------------------------------------------------------------------
    SERVER_NOT_ALLOWED = "ServerNotAllowed", "The policy does not allow servers of this protocol."
    NOTHING_TO_ASK = "NothingToAsk", "The manifest does not say what the candidate's pods could be asked, so nothing is proven."
    PREDICT_BODY_NOT_ALLOWED = (
        "PredictBodyNotAllowed",
        "The policy counts no request body of the manifest's own, only the registered input example.",
    )
    INPUT_EXAMPLE_MISSING = (
        "InputExampleMissing",
        "The model has no registered input example, and the policy requires that pods are asked with it.",
    )
    PODS_STARTING = "PodsStarting", "The candidate's pods are starting."
    PODS_UNSCHEDULABLE = "PodsUnschedulable", "The candidate's pods find no room in the cluster."
    QUOTA_EXCEEDED = "QuotaExceeded", "The namespace's quota has no room for the candidate's pods."
    SERVICE_ACCOUNT_MISSING = "ServiceAccountMissing", "The ServiceAccount of the candidate's pods does not exist."
    PODS_FORBIDDEN = (
        "PodsForbidden",
        "An admission rule of the cluster (Pod Security, a LimitRange, a policy, a webhook) forbids the candidate's pods.",
    )
    PODS_INVALID = "PodsInvalid", "The API server does not understand the pods that the spec asks for."
    CLUSTER_FAILED = (
        "ClusterFailed",
        "The API server, or a webhook that it asks, failed while the candidate's objects were made; it is tried again.",
    )
    POD_CRASHED = "PodCrashed", "A candidate's container exits or restarts."
    POD_NOT_READY = "PodNotReady", "The candidate's pods did not become ready before the deadline."
    IMAGE_PULL_FAILED = "ImagePullFailed", "The node could not pull the candidate's image before the deadline."
    POD_TAMPERED = "PodTampered", "A candidate's pod is not the pod that was asked for."
    IMAGE_UNVERIFIED = "ImageUnverified", "It is unknown whether the image that a node names is the one that was pinned."
    AUDITING = "Auditing", "The readiness audit of the candidate's pods is under way."
    AUDIT_FAILED = "AuditFailed", "The candidate's pods did not answer the readiness audit as a ready model does."
    AUDIT_TIMEOUT = (
        "AuditTimeout",
        "The candidate's pods did not answer as many predictions as the policy asks for before the deadline.",
    )
    PROBE_FAILED = "ProbeFailed", "A candidate's pod could not be reached by the readiness audit, or not in time."
    SERVICE_FAILED = "ServiceFailed", "After the switch the Service did not answer as a ready model does."


class EventReason(_Documented):
    """Reasons of Kubernetes events; one event a transition, never one a tick."""

    CANDIDATE_STARTED = "CandidateStarted", "A new revision is being checked."
    PROMOTION_BLOCKED = "PromotionBlocked", "A gate refuses the candidate."
    PROMOTION_WAITING = "PromotionWaiting", "A gate has no answer yet: a dependency or a person has to act."
    PROMOTED = "Promoted", "The candidate became the active revision."
    DRIFT_CORRECTED = "DriftCorrected", "Somebody else changed an object that Lockstep owns; it was put right."
    FOREIGN_ENDPOINTS = (
        "ForeignEndpoints",
        "Somebody else wrote where the traffic of the Service goes (EndpointSlices or Endpoints); it was taken away.",
    )
    STATUS_CORRECTED = "StatusCorrected", "Somebody else changed the status; it was put right."
    ACTIVE_DEGRADED = (
        "ActiveDegraded",
        "The active revision no longer meets the policy, its pods fail, or they can't be kept as they were promoted.",
    )
