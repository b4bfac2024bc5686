/// What somebody submits to a daemon. Where the run is kept, on which hosts it runs and by which program is the daemon's
/// to say.
public struct RunSubmission: Codable, Sendable, Equatable {
    /// The configuration, as YAML. Its name is the name of the run and of its directory.
    public var configuration: String
    /// What relative paths of the configuration start from; absolute.
    public var workingDirectory: String
    /// The most ranks; nil for as many as all hosts take.
    public var ranks: Int?

    public init(configuration: String, workingDirectory: String, ranks: Int? = nil) {
        self.configuration = configuration
        self.workingDirectory = workingDirectory
        self.ranks = ranks
    }
}
