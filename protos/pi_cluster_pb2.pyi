from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeDescription(_message.Message):
    __slots__ = ("node_id", "name", "cluster", "version", "wire_version", "machine_id", "memory_bytes", "free_memory_bytes", "free_disk_bytes", "resident_bytes", "stage", "kernels", "threads", "speed")
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
    def __init__(self, node_id: _Optional[str] = ..., name: _Optional[str] = ..., cluster: _Optional[str] = ..., version: _Optional[str] = ..., wire_version: _Optional[int] = ..., machine_id: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., free_memory_bytes: _Optional[int] = ..., free_disk_bytes: _Optional[int] = ..., resident_bytes: _Optional[int] = ..., stage: _Optional[_Union[StageStatus, _Mapping]] = ..., kernels: _Optional[str] = ..., threads: _Optional[int] = ..., speed: _Optional[_Union[NodeSpeed, _Mapping]] = ...) -> None: ...

class StageStatus(_message.Message):
    __slots__ = ("epoch", "store_digest", "layers", "sequences", "weight_bytes", "cache_bytes", "steps", "coordinator")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STORE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    store_digest: str
    layers: LayerRange
    sequences: int
    weight_bytes: int
    cache_bytes: int
    steps: int
    coordinator: str
    def __init__(self, epoch: _Optional[int] = ..., store_digest: _Optional[str] = ..., layers: _Optional[_Union[LayerRange, _Mapping]] = ..., sequences: _Optional[int] = ..., weight_bytes: _Optional[int] = ..., cache_bytes: _Optional[int] = ..., steps: _Optional[int] = ..., coordinator: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("held",)
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, held: _Optional[_Iterable[str]] = ...) -> None: ...

class ShardPart(_message.Message):
    __slots__ = ("sha256", "size_bytes", "data")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    data: bytes
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class PutShardReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LoadStageRequest(_message.Message):
    __slots__ = ("epoch", "manifest", "layers", "next_node", "next_address", "max_step_rows", "max_sequences", "context", "cache_positions")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_NODE_FIELD_NUMBER: _ClassVar[int]
    NEXT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MAX_STEP_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CACHE_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    manifest: str
    layers: LayerRange
    next_node: str
    next_address: str
    max_step_rows: int
    max_sequences: int
    context: int
    cache_positions: int
    def __init__(self, epoch: _Optional[int] = ..., manifest: _Optional[str] = ..., layers: _Optional[_Union[LayerRange, _Mapping]] = ..., next_node: _Optional[str] = ..., next_address: _Optional[str] = ..., max_step_rows: _Optional[int] = ..., max_sequences: _Optional[int] = ..., context: _Optional[int] = ..., cache_positions: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("wire_version", "epoch", "session", "coordinator")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    epoch: int
    session: str
    coordinator: str
    def __init__(self, wire_version: _Optional[int] = ..., epoch: _Optional[int] = ..., session: _Optional[str] = ..., coordinator: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("sequence", "start", "rows", "logit_rows", "candidates", "prefix_of")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LOGIT_ROWS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    PREFIX_OF_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    start: int
    rows: int
    logit_rows: int
    candidates: int
    prefix_of: int
    def __init__(self, sequence: _Optional[int] = ..., start: _Optional[int] = ..., rows: _Optional[int] = ..., logit_rows: _Optional[int] = ..., candidates: _Optional[int] = ..., prefix_of: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("sequence", "position", "ids", "logits")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    position: int
    ids: bytes
    logits: bytes
    def __init__(self, sequence: _Optional[int] = ..., position: _Optional[int] = ..., ids: _Optional[bytes] = ..., logits: _Optional[bytes] = ...) -> None: ...

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
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

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
