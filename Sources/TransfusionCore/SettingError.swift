/// A setting that cannot be what it was given as. A command names its option of that name in place of the setting.
public struct SettingError: UsageError, Equatable {
    /// As in `max-tokens`.
    public let setting: String
    /// What is wrong, and what would not be.
    public let problem: String

    public init(_ setting: String, _ problem: String) {
        self.setting = setting
        self.problem = problem
    }

    public var isWrongUse: Bool { true }
    public var description: String { "\(setting): \(problem)" }
}
