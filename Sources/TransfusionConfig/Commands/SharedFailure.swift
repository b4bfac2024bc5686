internal import Foundation
public import TransfusionCore
internal import TransfusionSupport

/// A failure that every rank of the job knows of: one of them says it, and all leave.
public struct SharedFailure: Error, CustomStringConvertible {
    public let failure: CommandFailure

    public init(failure: CommandFailure) {
        self.failure = failure
    }

    public var description: String { failure.description }
}

extension Collectives {
    /// Runs `body` on every rank; when it fails on any, all ranks get the failure of the first that did.
    ///
    /// Without this, a rank that fails alone leaves the others waiting for it in their next collective.
    public func agree(_ site: StaticString, _ body: () throws -> Void) throws {
        var own: CommandFailure?
        do {
            try body()
        } catch let shared as SharedFailure {
            throw shared
        } catch {
            own = CommandFailure(reporting: error)
        }
        let messages = try gather(try own.map { Array(try JSONEncoder().encode($0)) } ?? [], root: 0, site: site)
        let first = try broadcast(try firstFailure(messages), root: 0, site: site)
        guard !first.isEmpty else { return }
        throw SharedFailure(failure: try JSONDecoder().decode(CommandFailure.self, from: Data(first)))
    }

    /// What the first rank says that failed; who it was, unless all did.
    private func firstFailure(_ messages: [[UInt8]]) throws -> [UInt8] {
        guard let index = messages.firstIndex(where: { !$0.isEmpty }) else { return [] }
        var failure = try JSONDecoder().decode(CommandFailure.self, from: Data(messages[index]))
        if messages.contains(where: \.isEmpty), failure.record?.rank == nil { failure.record?.rank = index }
        return Array(try JSONEncoder().encode(failure))
    }
}

extension CommandFailure {
    /// Says on standard error why a rank ends: once for a failure that all ranks share, else with the rank.
    /// - Returns: The failure, and whether all ranks share it.
    public static func say(_ error: any Error, rank: Int, of ranks: Int) -> (failure: CommandFailure, isShared: Bool) {
        let shared = (error as? SharedFailure)?.failure
        let failure = shared ?? CommandFailure(reporting: error)
        if shared == nil || rank == 0 {
            let place = shared == nil && ranks > 1 ? "rank \(rank): " : ""
            for line in failure.lines { StandardStream.error.write("error: \(place)\(line)\n") }
        }
        return (failure, shared != nil)
    }
}
