internal import FoundationEssentials
internal import TransfusionCore

// Decisions that all ranks share: what one does or fails to do reaches all, and nobody waits for a rank that gave up.
extension CheckpointStore {
    /// Runs `body` on rank 0; all ranks get its result, or its error.
    func broadcast<Value: Codable>(_ collectives: any Collectives, _ body: () throws -> Value) throws -> Value {
        var outcome: Outcome<Value>?
        if collectives.rank == 0 { outcome = Outcome(directory, collectives, body) }
        if collectives.size == 1, let outcome { return try outcome.get(directory) }
        let message = try outcome.map { Array(try JSONEncoder().encode($0)) } ?? []
        let bytes = try collectives.broadcast(message, root: 0, site: "checkpoint.agree")
        return try JSONDecoder().decode(Outcome<Value>.self, from: Data(bytes)).get(directory)
    }

    /// Runs `body` on rank 0; all ranks get its error.
    func agree(_ collectives: any Collectives, _ body: () throws -> Void) throws {
        _ = try broadcast(collectives) {
            try body()
            return true
        }
    }

    /// Runs `body` on every rank, and gives rank 0 the results in rank order; the first error reaches all ranks.
    func gather<Value: Codable>(
        _ collectives: any Collectives, _ body: () throws -> Value
    ) throws -> Result<[Value], CheckpointError> {
        let mine = Outcome(directory, collectives, body)
        let messages = try collectives.gather(
            Array(try JSONEncoder().encode(mine)), root: 0, site: "checkpoint.gather")
        return Result {
            try messages.map { try JSONDecoder().decode(Outcome<Value>.self, from: Data($0)).get(directory) }
        }.mapError { CheckpointError($0, at: directory) }
    }
}

private struct Outcome<Value: Codable>: Codable {
    // An array, because a JSON null could be a missing value as well as a value that is nil.
    var values: [Value] = []
    var error: CheckpointError?

    init(_ directory: String, _ collectives: any Collectives, _ body: () throws -> Value) {
        do {
            values = [try body()]
        } catch {
            self.error = CheckpointError(error, at: directory).onRank(of: collectives)
        }
    }

    func get(_ directory: String) throws -> Value {
        if let error { throw error }
        guard let value = values.first else { throw CheckpointError(directory, "a rank sent no answer") }
        return value
    }
}

extension CheckpointError {
    /// Says which of several ranks has failed, unless it passes on the failure of another.
    func onRank(of collectives: any Collectives) -> CheckpointError {
        var error = self
        if collectives.size > 1, rank == nil { error.rank = collectives.rank }
        return error
    }
}
