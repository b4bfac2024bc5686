/// An error that may lie in how a program was called (an option, a configuration, a path) and not in its work. Commands
/// end with another code then.
public protocol UsageError: Error, CustomStringConvertible {
    /// Whether it does.
    var isWrongUse: Bool { get }
}
