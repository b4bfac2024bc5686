public import TransfusionConfig
public import TransfusionCore

/// A failure that every rank of the job knows of: one of them says it, and all leave.
public struct SharedFailure: Error, CustomStringConvertible {
    public let failure: CommandFailure

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
        let message = own.map { "\($0.code.rawValue)\n" + $0.lines.joined(separator: "\n") } ?? ""
        let messages = try gather(Array(message.utf8), root: 0, site: site)
        let first = try broadcast(messages.first { !$0.isEmpty } ?? [], root: 0, site: site)
        guard !first.isEmpty else { return }
        let lines = String(decoding: first, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        throw SharedFailure(
            failure: CommandFailure(
                lines.dropFirst().map(String.init),
                Int32(lines[0]).flatMap(CommandFailure.Code.init) ?? .failure))
    }
}
