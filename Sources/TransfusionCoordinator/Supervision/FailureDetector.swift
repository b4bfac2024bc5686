public import TransfusionConfig
public import TransfusionSupport
public import TransfusionTelemetry

/// Decides whether a launch is well, from the heartbeats of its ranks, the end of their processes, and the time.
///
/// It waits for nothing and asks nobody: everything that happens is told to it with the time at which it happened, in
/// seconds of one clock. What it finds is a suspicion with the ranks concerned; the supervisor finds out the rest.
public struct FailureDetector: Sendable {
    /// What is wrong with a launch.
    public enum Finding: Sendable, Equatable {
        /// The process of a rank has gone without having finished.
        case processGone(rank: Int)
        /// Ranks have sent nothing for too long.
        case silent(ranks: [Int], seconds: Double)
        /// Ranks have not begun to train in time.
        case notStarted(ranks: [Int], seconds: Double)
        /// No rank has finished a step in time. `suspects` are those that the others wait for, as far as that shows.
        case stuck(suspects: [Int], waiting: Waiting?, seconds: Double)
        /// All ranks have said that they are finished, but the launch does not end.
        case notLeaving(seconds: Double)
    }

    /// What most ranks wait in.
    public struct Waiting: Sendable, Equatable {
        public let collective: String
        public let ranks: [Int]
        public let seconds: Double
    }

    private struct Rank {
        private let last: LastHeartbeat
        var time: Double
        var goneSince: Double?
        /// How many heartbeats in a row found it slow.
        var slowBeats = 0

        init(_ heartbeat: Heartbeat, at time: Double) {
            last = LastHeartbeat(heartbeat)
            self.time = time
        }

        var heartbeat: Heartbeat { last.heartbeat }
    }

    /// By reference: all ranks are looked at many times a second, and a copy of a heartbeat counts references to all its texts.
    private final class LastHeartbeat: Sendable {
        let heartbeat: Heartbeat

        init(_ heartbeat: Heartbeat) { self.heartbeat = heartbeat }
    }

    private let count: Int
    private let bounds: RunConfiguration.Supervision
    private let launched: Double
    /// By rank; nil for those that have said nothing yet.
    private var slots: [Rank?]
    private var heardCount = 0
    /// When a rank last finished a step, or the ranks went from one kind of work to another.
    private var lastProgress: Double
    private var lastCheck: Double
    /// The median of the ranks' computation, and when it was found.
    private var median: (seconds: Double?, time: Double) = (nil, -.infinity)

    /// A pause of the coordinator itself (a suspended machine, a stopped process) longer than this is no rank's silence.
    private static let ownPause = 2.0
    /// Between the ends of the processes of a run that is done.
    private static let leaving = 2.0
    /// Computation shorter than this says nothing about the speed of a rank.
    private static let shortestComputation = 0.005

    public init(ranks: Int, bounds: RunConfiguration.Supervision, at now: Double) {
        count = ranks
        slots = Array(repeating: nil, count: ranks)
        self.bounds = bounds
        launched = now
        lastProgress = now
        lastCheck = now
    }

    // MARK: What happens

    public mutating func receive(_ heartbeat: Heartbeat, at now: Double) {
        guard (0..<count).contains(heartbeat.rank) else { return }
        let old = slots[heartbeat.rank]
        if old == nil { heardCount += 1 }
        let before = old?.heartbeat
        if before == nil || heartbeat.step > before!.step || before!.phase.isWithinStep != heartbeat.phase.isWithinStep
            || heartbeat.waitsFor != nil
        {
            lastProgress = now
        }
        var rank = Rank(heartbeat, at: now)
        rank.goneSince = old?.goneSince
        slots[heartbeat.rank] = rank
        // Of many ranks the median takes time to find, and changes little between two heartbeats.
        if now - median.time >= Double(heardCount / 64) / 32 { median = (medianComputeSeconds, now) }
        let isSlow = median.seconds.map { heartbeat.computeSeconds > bounds.stragglerRatio * $0 } ?? false
        slots[heartbeat.rank]?.slowBeats = isSlow ? (old?.slowBeats ?? 0) + 1 : 0
    }

    /// The process of a rank has ended.
    public mutating func processEnded(rank: Int, at now: Double) {
        guard let slot = slot(rank), slot.goneSince == nil else { return }
        slots[rank]?.goneSince = now
    }

    /// Whether the end of a rank's process has been noticed.
    public func hasEnded(rank: Int) -> Bool { slot(rank)?.goneSince != nil }

    // MARK: What follows

    /// What is wrong now; nil when all is well. To be called several times a second.
    public mutating func finding(at now: Double) -> Finding? {
        let pause = now - lastCheck
        lastCheck = now
        if pause > Self.ownPause {
            for rank in slots.indices { slots[rank]?.time += pause }
            lastProgress += pause
        }
        let alive = heard.filter { $0.heartbeat.phase != .finished }
        if let gone = alive.filter({ $0.goneSince != nil }).min(by: { $0.heartbeat.rank < $1.heartbeat.rank }) {
            return .processGone(rank: gone.heartbeat.rank)
        }
        // Ranks that are done leave together. One that has left alone has given up, and the others wait for it.
        let left = heard.filter { now - ($0.goneSince ?? now) > Self.leaving }
        if !alive.isEmpty, let first = left.min(by: { $0.goneSince ?? now < $1.goneSince ?? now }) {
            return .processGone(rank: first.heartbeat.rank)
        }
        let silent = alive.filter { now - $0.time > bounds.heartbeatTimeout }
        if let longest = silent.map({ now - $0.time }).max() {
            return .silent(ranks: silent.map(\.heartbeat.rank).sorted(), seconds: longest)
        }
        let notStarted = (0..<count).filter { slots[$0].map { $0.heartbeat.phase == .starting } ?? true }
        if !notStarted.isEmpty {
            return now - launched > bounds.startTimeout
                ? .notStarted(ranks: notStarted, seconds: now - launched) : nil
        }
        guard !alive.isEmpty else {
            let finished = now - (heard.map(\.time).max() ?? now)
            return finished > bounds.saveTimeout ? .notLeaving(seconds: finished) : nil
        }
        let bound =
            alive.contains { !$0.heartbeat.phase.isWithinStep }
            ? max(bounds.saveTimeout, bounds.stepTimeout) : bounds.stepTimeout
        guard now - lastProgress > bound else { return nil }
        return .stuck(suspects: suspects(alive), waiting: waiting(alive), seconds: now - lastProgress)
    }

    /// The last heartbeat of each rank, and how old it is.
    public func heartbeats(at now: Double) -> [(heartbeat: Heartbeat, age: Double)] {
        heard.map { ($0.heartbeat, now - $0.time) }
    }

    /// The process of each rank that has been heard, and when it was heard last.
    public var processes: [(rank: Int, pid: Int32, time: Double)] {
        heard.map { ($0.heartbeat.rank, $0.heartbeat.pid, $0.time) }
    }

    /// The last heartbeat of a rank.
    public func heartbeat(of rank: Int) -> Heartbeat? { slot(rank)?.heartbeat }

    /// Whether a rank is saving.
    public var isSaving: Bool { heard.contains { $0.heartbeat.phase == .checkpoint } }

    public func condition(of rank: Int, at now: Double) -> RunStatus.RankStatus.Condition {
        guard let rank = slot(rank) else { return .stale }
        if rank.heartbeat.phase == .finished { return .ok }
        if rank.goneSince != nil || now - rank.time > bounds.heartbeatTimeout { return .dead }
        if now - rank.time > max(2.5, bounds.heartbeatTimeout / 3) { return .stale }
        return rank.slowBeats >= 3 ? .slow : .ok
    }

    /// Steps that all ranks have done.
    public var step: Int? { heardCount == count ? heard.map(\.heartbeat.step).min() : nil }

    /// Whether every rank has loaded what it needs and trains.
    public var hasStarted: Bool { heardCount == count && heard.allSatisfy { $0.heartbeat.phase != .starting } }

    /// Whether every rank has said that it is finished.
    public var hasFinished: Bool { heardCount == count && heard.allSatisfy { $0.heartbeat.phase == .finished } }

    /// What ranks wait for that keep a step in memory, if any do.
    public var obstacle: FailureRecord? {
        heard.lazy.filter { $0.heartbeat.phase != .finished }.compactMap(\.heartbeat.waitsFor).first
    }

    /// What the ranks say of why they ended: that of the rank which met it, as far as one did.
    public var failure: CommandFailure? {
        let failures = heard.compactMap(\.heartbeat.failure)
        return failures.first { $0.record != nil } ?? failures.first
    }

    /// Whether a rank has said anything.
    public var hasHeardRanks: Bool { heardCount > 0 }

    /// Ranks that compute clearly longer than the others, with how many times the median they need.
    public var stragglers: [(rank: Int, ratio: Double)] {
        guard let median = medianComputeSeconds else { return [] }
        return heard.filter { $0.slowBeats >= 3 }
            .map { ($0.heartbeat.rank, $0.heartbeat.computeSeconds / median) }
    }

    // MARK: Parts

    /// nil also for a rank that there is not: numbers come from outside.
    private func slot(_ rank: Int) -> Rank? { slots.indices.contains(rank) ? slots[rank] : nil }

    /// In the order of their numbers.
    private var heard: some Sequence<Rank> { slots.lazy.compactMap(\.self) }

    private var medianComputeSeconds: Double? {
        let seconds = heard.map(\.heartbeat.computeSeconds).filter { $0 > Self.shortestComputation }.sorted()
        // The lower one of the two in the middle: of two ranks, the slow one is no measure.
        return seconds.count > 1 ? seconds[(seconds.count - 1) / 2] : nil
    }

    /// The collective that most ranks are in.
    private func waiting(_ ranks: [Rank]) -> Waiting? {
        let groups = Dictionary(grouping: ranks.filter { $0.heartbeat.collective != nil }) {
            $0.heartbeat.collective ?? ""
        }
        let largest = groups.max { ($0.value.count, $1.key) < ($1.value.count, $0.key) }
        return largest.map { collective, members in
            Waiting(
                collective: collective, ranks: members.map(\.heartbeat.rank).sorted(),
                seconds: members.map { $0.heartbeat.collectiveSeconds ?? 0 }.max() ?? 0)
        }
    }

    /// Those that are behind, or not where the others wait.
    private func suspects(_ ranks: [Rank]) -> [Int] {
        guard let last = ranks.map(\.heartbeat.step).min() else { return [] }
        let behind = ranks.filter { $0.heartbeat.step == last }
        if behind.count < ranks.count { return behind.map(\.heartbeat.rank).sorted() }
        guard let waiting = waiting(ranks) else { return [] }
        return ranks.map(\.heartbeat.rank).filter { !waiting.ranks.contains($0) }.sorted()
    }

    /// What a silence leaves to see: the collective in which those wait that can still be heard.
    public func waiting(besides silent: [Int]) -> Waiting? {
        waiting(heard.filter { !silent.contains($0.heartbeat.rank) })
    }
}

extension Phase {
    /// Whether the time of a step bounds it; saving, drawing and validation have a bound of their own.
    fileprivate var isWithinStep: Bool { self != .checkpoint && self != .sampling && self != .validation }
}
