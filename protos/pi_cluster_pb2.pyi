from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ("try_next",)
    TRY_NEXT_FIELD_NUMBER: _ClassVar[int]
    try_next: bool
    def __init__(self, try_next: bool = ...) -> None: ...

class PingRequest(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class PingReply(_message.Message):
    __slots__ = ("next_silent_ms", "computing_ms", "computing_rows", "short_of_memory", "clock_share", "temperature_c")
    NEXT_SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    COMPUTING_MS_FIELD_NUMBER: _ClassVar[int]
    COMPUTING_ROWS_FIELD_NUMBER: _ClassVar[int]
    SHORT_OF_MEMORY_FIELD_NUMBER: _ClassVar[int]
    CLOCK_SHARE_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    next_silent_ms: int
    computing_ms: int
    computing_rows: int
    short_of_memory: bool
    clock_share: float
    temperature_c: float
    def __init__(self, next_silent_ms: _Optional[int] = ..., computing_ms: _Optional[int] = ..., computing_rows: _Optional[int] = ..., short_of_memory: bool = ..., clock_share: _Optional[float] = ..., temperature_c: _Optional[float] = ...) -> None: ...

class NodeDescription(_message.Message):
    __slots__ = ("node_id", "name", "cluster", "version", "wire_version", "machine_id", "memory_bytes", "free_memory_bytes", "free_disk_bytes", "resident_bytes", "stage", "kernels", "threads", "speed", "temperature_c", "certificate_expires_unix_s", "revocations_number", "disk_problem", "stage_problem", "damaged_shards", "clock_share", "firmware_flags", "short_of_memory")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    KERNELS_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_NUMBER_FIELD_NUMBER: _ClassVar[int]
    DISK_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    STAGE_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_SHARDS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_SHARE_FIELD_NUMBER: _ClassVar[int]
    FIRMWARE_FLAGS_FIELD_NUMBER: _ClassVar[int]
    SHORT_OF_MEMORY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    name: str
    cluster: str
    version: str
    wire_version: int
    machine_id: str
    memory_bytes: int
    free_memory_bytes: int
    free_disk_bytes: int
    resident_bytes: int
    stage: StageStatus
    kernels: str
    threads: int
    speed: NodeSpeed
    temperature_c: float
    certificate_expires_unix_s: int
    revocations_number: int
    disk_problem: str
    stage_problem: str
    damaged_shards: _containers.RepeatedCompositeFieldContainer[DamagedShard]
    clock_share: float
    firmware_flags: int
    short_of_memory: bool
    def __init__(self, node_id: _Optional[str] = ..., name: _Optional[str] = ..., cluster: _Optional[str] = ..., version: _Optional[str] = ..., wire_version: _Optional[int] = ..., machine_id: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., free_memory_bytes: _Optional[int] = ..., free_disk_bytes: _Optional[int] = ..., resident_bytes: _Optional[int] = ..., stage: _Optional[_Union[StageStatus, _Mapping]] = ..., kernels: _Optional[str] = ..., threads: _Optional[int] = ..., speed: _Optional[_Union[NodeSpeed, _Mapping]] = ..., temperature_c: _Optional[float] = ..., certificate_expires_unix_s: _Optional[int] = ..., revocations_number: _Optional[int] = ..., disk_problem: _Optional[str] = ..., stage_problem: _Optional[str] = ..., damaged_shards: _Optional[_Iterable[_Union[DamagedShard, _Mapping]]] = ..., clock_share: _Optional[float] = ..., firmware_flags: _Optional[int] = ..., short_of_memory: bool = ...) -> None: ...

class DamagedShard(_message.Message):
    __slots__ = ("sha256", "name", "problem")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    name: str
    problem: str
    def __init__(self, sha256: _Optional[str] = ..., name: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class StageStatus(_message.Message):
    __slots__ = ("epoch", "store_digest", "layers", "sequences", "weight_bytes", "cache_bytes", "steps", "coordinator", "rows", "verified_ago_s", "next_error", "max_step_rows", "max_sequences", "context", "cache_positions", "next_node_id", "previous_node_id", "neighbours")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STORE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_AGO_S_FIELD_NUMBER: _ClassVar[int]
    NEXT_ERROR_FIELD_NUMBER: _ClassVar[int]
    MAX_STEP_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CACHE_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    store_digest: str
    layers: LayerRange
    sequences: int
    weight_bytes: int
    cache_bytes: int
    steps: int
    coordinator: str
    rows: int
    verified_ago_s: int
    next_error: str
    max_step_rows: int
    max_sequences: int
    context: int
    cache_positions: int
    next_node_id: str
    previous_node_id: str
    neighbours: _containers.RepeatedCompositeFieldContainer[Neighbour]
    def __init__(self, epoch: _Optional[int] = ..., store_digest: _Optional[str] = ..., layers: _Optional[_Union[LayerRange, _Mapping]] = ..., sequences: _Optional[int] = ..., weight_bytes: _Optional[int] = ..., cache_bytes: _Optional[int] = ..., steps: _Optional[int] = ..., coordinator: _Optional[str] = ..., rows: _Optional[int] = ..., verified_ago_s: _Optional[int] = ..., next_error: _Optional[str] = ..., max_step_rows: _Optional[int] = ..., max_sequences: _Optional[int] = ..., context: _Optional[int] = ..., cache_positions: _Optional[int] = ..., next_node_id: _Optional[str] = ..., previous_node_id: _Optional[str] = ..., neighbours: _Optional[_Iterable[_Union[Neighbour, _Mapping]]] = ...) -> None: ...

class LayerRange(_message.Message):
    __slots__ = ("start", "stop")
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    start: int
    stop: int
    def __init__(self, start: _Optional[int] = ..., stop: _Optional[int] = ...) -> None: ...

class FindShardsRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sha256: _Optional[_Iterable[str]] = ...) -> None: ...

class FindShardsReply(_message.Message):
    __slots__ = ("held", "partial")
    HELD_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedScalarFieldContainer[str]
    partial: _containers.RepeatedCompositeFieldContainer[PartialShard]
    def __init__(self, held: _Optional[_Iterable[str]] = ..., partial: _Optional[_Iterable[_Union[PartialShard, _Mapping]]] = ...) -> None: ...

class PartialShard(_message.Message):
    __slots__ = ("sha256", "received_bytes")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    received_bytes: int
    def __init__(self, sha256: _Optional[str] = ..., received_bytes: _Optional[int] = ...) -> None: ...

class ShardPart(_message.Message):
    __slots__ = ("sha256", "size_bytes", "data", "offset_bytes")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    data: bytes
    offset_bytes: int
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., data: _Optional[bytes] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class PutShardReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetShardRequest(_message.Message):
    __slots__ = ("sha256", "offset_bytes")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    offset_bytes: int
    def __init__(self, sha256: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class FetchShardRequest(_message.Message):
    __slots__ = ("sha256", "size_bytes", "address", "node_id", "other_addresses")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    address: str
    node_id: str
    other_addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., address: _Optional[str] = ..., node_id: _Optional[str] = ..., other_addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class FetchShardReply(_message.Message):
    __slots__ = ("received_bytes",)
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    received_bytes: int
    def __init__(self, received_bytes: _Optional[int] = ...) -> None: ...

class VerifyShardsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VerifyShardsReply(_message.Message):
    __slots__ = ("done_bytes", "total_bytes", "name", "shards", "damaged")
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    done_bytes: int
    total_bytes: int
    name: str
    shards: int
    damaged: _containers.RepeatedCompositeFieldContainer[DamagedShard]
    def __init__(self, done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., name: _Optional[str] = ..., shards: _Optional[int] = ..., damaged: _Optional[_Iterable[_Union[DamagedShard, _Mapping]]] = ...) -> None: ...

class LoadStageRequest(_message.Message):
    __slots__ = ("epoch", "manifest", "layers", "next_node", "next_address", "max_step_rows", "max_sequences", "context", "cache_positions", "next_node_id", "previous_node_id", "neighbours", "next_other_addresses", "standby_sha256")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_NODE_FIELD_NUMBER: _ClassVar[int]
    NEXT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MAX_STEP_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CACHE_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    NEXT_OTHER_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    STANDBY_SHA256_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    manifest: str
    layers: LayerRange
    next_node: str
    next_address: str
    max_step_rows: int
    max_sequences: int
    context: int
    cache_positions: int
    next_node_id: str
    previous_node_id: str
    neighbours: _containers.RepeatedCompositeFieldContainer[Neighbour]
    next_other_addresses: _containers.RepeatedScalarFieldContainer[str]
    standby_sha256: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, epoch: _Optional[int] = ..., manifest: _Optional[str] = ..., layers: _Optional[_Union[LayerRange, _Mapping]] = ..., next_node: _Optional[str] = ..., next_address: _Optional[str] = ..., max_step_rows: _Optional[int] = ..., max_sequences: _Optional[int] = ..., context: _Optional[int] = ..., cache_positions: _Optional[int] = ..., next_node_id: _Optional[str] = ..., previous_node_id: _Optional[str] = ..., neighbours: _Optional[_Iterable[_Union[Neighbour, _Mapping]]] = ..., next_other_addresses: _Optional[_Iterable[str]] = ..., standby_sha256: _Optional[_Iterable[str]] = ...) -> None: ...

class Neighbour(_message.Message):
    __slots__ = ("name", "address", "node_id", "other_addresses")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    node_id: str
    other_addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., node_id: _Optional[str] = ..., other_addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class LoadStageReply(_message.Message):
    __slots__ = ("weight_bytes",)
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    weight_bytes: int
    def __init__(self, weight_bytes: _Optional[int] = ...) -> None: ...

class UnloadStageRequest(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class UnloadStageReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SessionHeader(_message.Message):
    __slots__ = ("wire_version", "epoch", "session", "coordinator", "asked_after", "held_ms")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    ASKED_AFTER_FIELD_NUMBER: _ClassVar[int]
    HELD_MS_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    epoch: int
    session: str
    coordinator: str
    asked_after: bool
    held_ms: int
    def __init__(self, wire_version: _Optional[int] = ..., epoch: _Optional[int] = ..., session: _Optional[str] = ..., coordinator: _Optional[str] = ..., asked_after: bool = ..., held_ms: _Optional[int] = ...) -> None: ...

class StepMessage(_message.Message):
    __slots__ = ("header", "step", "end", "supersede", "rest")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDE_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    header: SessionHeader
    step: Step
    end: EndSequences
    supersede: Supersede
    rest: Rest
    def __init__(self, header: _Optional[_Union[SessionHeader, _Mapping]] = ..., step: _Optional[_Union[Step, _Mapping]] = ..., end: _Optional[_Union[EndSequences, _Mapping]] = ..., supersede: _Optional[_Union[Supersede, _Mapping]] = ..., rest: _Optional[_Union[Rest, _Mapping]] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("step", "chunks", "ids", "hidden", "timings")
    STEP_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    step: int
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    ids: TokenIds
    hidden: bytes
    timings: _containers.RepeatedCompositeFieldContainer[StageTiming]
    def __init__(self, step: _Optional[int] = ..., chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., ids: _Optional[_Union[TokenIds, _Mapping]] = ..., hidden: _Optional[bytes] = ..., timings: _Optional[_Iterable[_Union[StageTiming, _Mapping]]] = ...) -> None: ...

class TokenIds(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, id: _Optional[_Iterable[int]] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("sequence", "start", "rows", "logit_rows", "candidates", "prefix_of", "allowed", "log_sum", "state")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LOGIT_ROWS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    PREFIX_OF_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    LOG_SUM_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    start: int
    rows: int
    logit_rows: int
    candidates: int
    prefix_of: int
    allowed: _containers.RepeatedScalarFieldContainer[bytes]
    log_sum: bool
    state: bool
    def __init__(self, sequence: _Optional[int] = ..., start: _Optional[int] = ..., rows: _Optional[int] = ..., logit_rows: _Optional[int] = ..., candidates: _Optional[int] = ..., prefix_of: _Optional[int] = ..., allowed: _Optional[_Iterable[bytes]] = ..., log_sum: bool = ..., state: bool = ...) -> None: ...

class EndSequences(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequence: _Optional[_Iterable[int]] = ...) -> None: ...

class Supersede(_message.Message):
    __slots__ = ("sequence", "before_step")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_STEP_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    before_step: int
    def __init__(self, sequence: _Optional[int] = ..., before_step: _Optional[int] = ...) -> None: ...

class Rest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StageTiming(_message.Message):
    __slots__ = ("idle_ns", "queued_ns", "compute_ns", "began_ns")
    IDLE_NS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_NS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_NS_FIELD_NUMBER: _ClassVar[int]
    BEGAN_NS_FIELD_NUMBER: _ClassVar[int]
    idle_ns: int
    queued_ns: int
    compute_ns: int
    began_ns: int
    def __init__(self, idle_ns: _Optional[int] = ..., queued_ns: _Optional[int] = ..., compute_ns: _Optional[int] = ..., began_ns: _Optional[int] = ...) -> None: ...

class RunStepsReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CollectResultsRequest(_message.Message):
    __slots__ = ("wire_version", "epoch", "session")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    epoch: int
    session: str
    def __init__(self, wire_version: _Optional[int] = ..., epoch: _Optional[int] = ..., session: _Optional[str] = ...) -> None: ...

class StepResult(_message.Message):
    __slots__ = ("step", "rows", "timings", "ready")
    STEP_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    step: int
    rows: _containers.RepeatedCompositeFieldContainer[RowLogits]
    timings: _containers.RepeatedCompositeFieldContainer[StageTiming]
    ready: bool
    def __init__(self, step: _Optional[int] = ..., rows: _Optional[_Iterable[_Union[RowLogits, _Mapping]]] = ..., timings: _Optional[_Iterable[_Union[StageTiming, _Mapping]]] = ..., ready: bool = ...) -> None: ...

class RowLogits(_message.Message):
    __slots__ = ("sequence", "position", "ids", "logits", "log_sum", "state")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    LOG_SUM_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    position: int
    ids: bytes
    logits: bytes
    log_sum: float
    state: bytes
    def __init__(self, sequence: _Optional[int] = ..., position: _Optional[int] = ..., ids: _Optional[bytes] = ..., logits: _Optional[bytes] = ..., log_sum: _Optional[float] = ..., state: _Optional[bytes] = ...) -> None: ...

class MeasureNodeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeSpeed(_message.Message):
    __slots__ = ("read_bytes_ps", "macs_ps", "machine_read_bytes_ps", "machine_macs_ps")
    READ_BYTES_PS_FIELD_NUMBER: _ClassVar[int]
    MACS_PS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_READ_BYTES_PS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_MACS_PS_FIELD_NUMBER: _ClassVar[int]
    read_bytes_ps: float
    macs_ps: float
    machine_read_bytes_ps: float
    machine_macs_ps: float
    def __init__(self, read_bytes_ps: _Optional[float] = ..., macs_ps: _Optional[float] = ..., machine_read_bytes_ps: _Optional[float] = ..., machine_macs_ps: _Optional[float] = ...) -> None: ...

class MeasureLinkRequest(_message.Message):
    __slots__ = ("address", "node_id", "other_addresses")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    address: str
    node_id: str
    other_addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, address: _Optional[str] = ..., node_id: _Optional[str] = ..., other_addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class LinkSpeed(_message.Message):
    __slots__ = ("delay_s", "bytes_ps")
    DELAY_S_FIELD_NUMBER: _ClassVar[int]
    BYTES_PS_FIELD_NUMBER: _ClassVar[int]
    delay_s: float
    bytes_ps: float
    def __init__(self, delay_s: _Optional[float] = ..., bytes_ps: _Optional[float] = ...) -> None: ...

class EchoRequest(_message.Message):
    __slots__ = ("data", "answer_bytes")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ANSWER_BYTES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    answer_bytes: int
    def __init__(self, data: _Optional[bytes] = ..., answer_bytes: _Optional[int] = ...) -> None: ...

class EchoReply(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ExamineRequest(_message.Message):
    __slots__ = ("addresses", "measure_disk", "listen_ms")
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    MEASURE_DISK_FIELD_NUMBER: _ClassVar[int]
    LISTEN_MS_FIELD_NUMBER: _ClassVar[int]
    addresses: _containers.RepeatedScalarFieldContainer[str]
    measure_disk: bool
    listen_ms: int
    def __init__(self, addresses: _Optional[_Iterable[str]] = ..., measure_disk: bool = ..., listen_ms: _Optional[int] = ...) -> None: ...

class Examination(_message.Message):
    __slots__ = ("system", "linux", "architecture", "model", "python", "wheel", "swap_bytes", "used_swap_bytes", "disk_bytes", "disk_read_bytes_ps", "throttled", "clock_unix_s", "clock_synchronised", "uptime_s", "load", "ports", "heard", "reached", "memory_limit_bytes", "out_of_memory_kills")
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    LINUX_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    WHEEL_FIELD_NUMBER: _ClassVar[int]
    SWAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_SWAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_READ_BYTES_PS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_FIELD_NUMBER: _ClassVar[int]
    CLOCK_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    CLOCK_SYNCHRONISED_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_MEMORY_KILLS_FIELD_NUMBER: _ClassVar[int]
    system: str
    linux: str
    architecture: str
    model: str
    python: str
    wheel: str
    swap_bytes: int
    used_swap_bytes: int
    disk_bytes: int
    disk_read_bytes_ps: float
    throttled: int
    clock_unix_s: float
    clock_synchronised: bool
    uptime_s: float
    load: float
    ports: _containers.RepeatedCompositeFieldContainer[NetworkPort]
    heard: _containers.RepeatedScalarFieldContainer[str]
    reached: _containers.RepeatedCompositeFieldContainer[Reached]
    memory_limit_bytes: int
    out_of_memory_kills: int
    def __init__(self, system: _Optional[str] = ..., linux: _Optional[str] = ..., architecture: _Optional[str] = ..., model: _Optional[str] = ..., python: _Optional[str] = ..., wheel: _Optional[str] = ..., swap_bytes: _Optional[int] = ..., used_swap_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., disk_read_bytes_ps: _Optional[float] = ..., throttled: _Optional[int] = ..., clock_unix_s: _Optional[float] = ..., clock_synchronised: bool = ..., uptime_s: _Optional[float] = ..., load: _Optional[float] = ..., ports: _Optional[_Iterable[_Union[NetworkPort, _Mapping]]] = ..., heard: _Optional[_Iterable[str]] = ..., reached: _Optional[_Iterable[_Union[Reached, _Mapping]]] = ..., memory_limit_bytes: _Optional[int] = ..., out_of_memory_kills: _Optional[int] = ...) -> None: ...

class NetworkPort(_message.Message):
    __slots__ = ("name", "is_wireless", "is_up", "megabits_ps", "full_duplex", "carrier_changes", "energy_efficient", "power_saving", "addresses")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_WIRELESS_FIELD_NUMBER: _ClassVar[int]
    IS_UP_FIELD_NUMBER: _ClassVar[int]
    MEGABITS_PS_FIELD_NUMBER: _ClassVar[int]
    FULL_DUPLEX_FIELD_NUMBER: _ClassVar[int]
    CARRIER_CHANGES_FIELD_NUMBER: _ClassVar[int]
    ENERGY_EFFICIENT_FIELD_NUMBER: _ClassVar[int]
    POWER_SAVING_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_wireless: bool
    is_up: bool
    megabits_ps: int
    full_duplex: bool
    carrier_changes: int
    energy_efficient: bool
    power_saving: bool
    addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., is_wireless: bool = ..., is_up: bool = ..., megabits_ps: _Optional[int] = ..., full_duplex: bool = ..., carrier_changes: _Optional[int] = ..., energy_efficient: bool = ..., power_saving: bool = ..., addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class Reached(_message.Message):
    __slots__ = ("address", "error")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    address: str
    error: str
    def __init__(self, address: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class RequestCertificateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SigningRequest(_message.Message):
    __slots__ = ("signing_request",)
    SIGNING_REQUEST_FIELD_NUMBER: _ClassVar[int]
    signing_request: bytes
    def __init__(self, signing_request: _Optional[bytes] = ...) -> None: ...

class Certification(_message.Message):
    __slots__ = ("certificate", "authorities", "revocations")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    authorities: bytes
    revocations: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., authorities: _Optional[bytes] = ..., revocations: _Optional[bytes] = ...) -> None: ...

class CertifyReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Challenge(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class Introduction(_message.Message):
    __slots__ = ("node_id", "name", "token_id", "signing_request", "proof")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNING_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    name: str
    token_id: str
    signing_request: bytes
    proof: bytes
    def __init__(self, node_id: _Optional[str] = ..., name: _Optional[str] = ..., token_id: _Optional[str] = ..., signing_request: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...
