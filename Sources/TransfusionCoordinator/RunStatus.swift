public import Foundation
public import TransfusionTelemetry

/// Everything that is known of a run at one moment: what `tf-coord status` prints, the API answers, and the dashboard
/// shows.
///
/// As JSON its keys are in snake case; use `CoordinatorJSON` to write and read it.
public struct RunStatus: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable, CaseIterable {
        /// A daemon holds the run until there is room for it.
        case queued
        /// Processes are being started, or load what they need for their first step.
        case starting
        case running
        /// Training stands still while a checkpoint is taken.
        case saving
        /// Asked to stop: the ranks save at the end of their step.
        case stopping
        /// A failure was found: what is left is killed, and the run is started again.
        case recovering
        /// Something that may pass makes a launch impossible, such as a full disk: the run is launched when it is gone.
        case waiting
        /// All steps are done.
        case done
        /// Saved and ended on request; `resume` continues it.
        case stopped
        /// Ended by failures that restarts did not overcome.
        case failed

        /// Whether nothing more will happen unless somebody asks for it.
        public var isFinal: Bool { self == .done || self == .stopped || self == .failed }
    }

    /// Where the status comes from.
    public enum Source: String, Codable, Sendable {
        /// The coordinator that supervises the run.
        case coordinator
        /// Files of the run directory, because no coordinator answers.
        case files
    }

    /// The name of the run.
    public var run: String
    /// The absolute path of the run directory.
    public var directory: String
    public var source = Source.coordinator
    public var state: State
    /// When this was true, in seconds since 1970.
    public var time: Double
    /// When the run was started for the first time, in seconds since 1970.
    public var started: Double?
    /// Steps done.
    public var step: Int
    /// Steps of the whole run.
    public var steps: Int
    /// How much of the run is done, from 0 to 100.
    public var percent: Double
    /// Seconds until the run is complete at the present speed; nil before there is one, and when nothing runs.
    public var etaSeconds: Double?
    /// The transfusion that the ranks are of; nil before their first heartbeats.
    public var version: String?
    public var layout: Layout?
    public var losses: Losses?
    public var tokensPerSecond: Double?
    /// Model FLOPs utilization, from 0 to 1.
    public var mfu: Double?
    /// The share of the time since the first start in which steps were computed that count, from 0 to 1: saves,
    /// restarts and repeated steps lower it.
    public var effectiveTrainingTimeRatio: Double?
    /// Seconds since the first start without those in which nobody wanted the run to go on, on a clock that nobody sets.
    public var elapsedSeconds: Double?
    public var lastCheckpoint: CheckpointStatus?
    /// Each unplanned start after the first, oldest first.
    public var restarts: [Restart] = []
    /// Restarts that are left before the run counts as failed; progress refills them.
    public var restartsLeft: Int?
    /// What each failure cost, oldest first.
    public var recoveries: [Recovery] = []
    public var ranks: [RankStatus] = []
    /// What the run waits for before it is launched again; nil when nothing stands in its way.
    public var obstacle: Obstacle?
    /// What a person should look at, as in "rank 1 computes 1.8 times as long as the median".
    public var warnings: [String] = []
    /// How the run ended; nil while it goes on.
    public var exit: Exit?

    public init(run: String, directory: String, state: State, time: Double, step: Int, steps: Int) {
        self.run = run
        self.directory = directory
        self.state = state
        self.time = time
        self.step = step
        self.steps = steps
        percent = steps > 0 ? 100 * Double(step) / Double(steps) : 0
    }
}

extension RunStatus {
    /// How the ranks of the present launch are spread and divide the work.
    public struct Layout: Codable, Sendable, Equatable {
        public var ranks: Int
        public var data: Int
        public var tensor: Int
        public var hosts: [HostStatus]

        public init(ranks: Int, data: Int, tensor: Int, hosts: [HostStatus]) {
            self.ranks = ranks
            self.data = data
            self.tensor = tensor
            self.hosts = hosts
        }
    }

    public struct HostStatus: Codable, Sendable, Equatable {
        public enum Condition: String, Codable, Sendable {
            case used
            /// Reachable, but the present layout does not need it.
            case spare
            /// Cannot be reached.
            case away
            /// Failed too often, and left out for a while.
            case setAside = "set_aside"
        }

        public var name: String
        public var slots: Int
        public var ranks: Int
        public var condition: Condition
        public var failures: Int

        public init(name: String, slots: Int, ranks: Int, condition: Condition, failures: Int) {
            self.name = name
            self.slots = slots
            self.ranks = ranks
            self.condition = condition
            self.failures = failures
        }
    }

    /// Of the last logged step.
    public struct Losses: Codable, Sendable, Equatable {
        public var total: Double
        /// By the names that the task gives them.
        public var parts: [String: Double]
        public var gradientNorm: Double
        public var learningRate: Double

        public init(_ record: StepRecord) {
            total = record.loss
            parts = record.losses
            gradientNorm = record.gradientNorm
            learningRate = record.learningRate
        }
    }

    public struct CheckpointStatus: Codable, Sendable, Equatable {
        public var step: Int
        public var ageSeconds: Double
        public var bytes: Int
        /// Whether every byte was read and matched its digest; nil as long as that is not known.
        public var verified: Bool?

        public init(step: Int, ageSeconds: Double, bytes: Int, verified: Bool?) {
            self.step = step
            self.ageSeconds = ageSeconds
            self.bytes = bytes
            self.verified = verified
        }
    }

    public struct Restart: Codable, Sendable, Equatable {
        /// In seconds since 1970.
        public var time: Double
        /// The number of the launch that failed, from 1.
        public var launch: Int
        /// The last step that was done before the failure.
        public var step: Int
        public var cause: FailureCause

        public init(time: Double, launch: Int, step: Int, cause: FailureCause) {
            self.time = time
            self.launch = launch
            self.step = step
            self.cause = cause
        }
    }

    /// The timeline of a recovery. Seconds count from the last sign that all was well.
    public struct Recovery: Codable, Sendable, Equatable {
        /// When the failure was found, in seconds since 1970.
        public var time: Double
        /// The number of the launch that failed, from 1.
        public var launch: Int
        public var cause: FailureCause
        /// The failure was found.
        public var detected: Double
        /// No process of the failed launch was left on any host.
        public var killed: Double?
        /// The processes were started again.
        public var relaunched: Double?
        /// Every rank had loaded the checkpoint.
        public var loaded: Double?
        /// The first step after that was done.
        public var firstStep: Double?
        /// Steps that had been done and were done again; nil until it is known from which checkpoint training goes on.
        public var lostSteps: Int?

        public init(time: Double, launch: Int, cause: FailureCause, detected: Double) {
            self.time = time
            self.launch = launch
            self.cause = cause
            self.detected = detected
        }
    }

    /// Something that makes a launch impossible at the moment. It is no failure of the run, and uses up no restarts.
    public struct Obstacle: Codable, Sendable, Equatable {
        public var cause: FailureCause
        /// How long the run has waited so far.
        public var seconds: Double
        /// How often it was found in the way.
        public var tries: Int
        /// Seconds until the next look.
        public var nextTry: Double

        public init(cause: FailureCause, seconds: Double, tries: Int, nextTry: Double) {
            self.cause = cause
            self.seconds = seconds
            self.tries = tries
            self.nextTry = nextTry
        }
    }

    public struct RankStatus: Codable, Sendable, Equatable {
        public enum Condition: String, Codable, Sendable {
            case ok = "OK"
            /// Computes clearly longer than the others.
            case slow = "SLOW"
            /// No heartbeat for longer than usual.
            case stale = "STALE"
            /// Its process is gone, or so long silent that it counts as gone.
            case dead = "DEAD"
        }

        public var rank: Int
        public var host: String
        public var pid: Int32
        public var step: Int
        public var phase: Phase
        /// The collective that the rank is in, as in "end of backward".
        public var collective: String?
        /// How long the rank has been in its phase, or in its collective if it is in one.
        public var phaseSeconds: Double
        /// Seconds of computation in a step.
        public var computeSeconds: Double
        /// Seconds that the rank waits for others in a step.
        public var waitSeconds: Double
        public var memoryBytes: Int
        public var heartbeatAge: Double
        public var condition: Condition

        public init(_ heartbeat: Heartbeat, age: Double, condition: Condition) {
            rank = heartbeat.rank
            host = heartbeat.host
            pid = heartbeat.pid
            step = heartbeat.step
            phase = heartbeat.phase
            collective = heartbeat.collective
            phaseSeconds = heartbeat.collectiveSeconds ?? heartbeat.phaseSeconds
            computeSeconds = heartbeat.computeSeconds
            waitSeconds = heartbeat.waitSeconds
            memoryBytes = heartbeat.memoryBytes
            heartbeatAge = age
            self.condition = condition
        }
    }

    public struct Exit: Codable, Sendable, Equatable {
        /// The exit code of `tf-coord run`: 0 done, 85 stopped and saved, 2 wrong use, 1 any other failure.
        public var code: Int32
        /// One sentence.
        public var reason: String

        public init(code: Int32, reason: String) {
            self.code = code
            self.reason = reason
        }
    }
}

/// How the coordinator writes and reads JSON: keys in snake case, numbers that are none as null's stand-ins.
public enum CoordinatorJSON {
    public static func encode(_ value: some Encodable, pretty: Bool = false) throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = pretty ? [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes] : [.sortedKeys]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try encoder.encode(value)
    }

    public static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try decoder.decode(type, from: data)
    }
}
