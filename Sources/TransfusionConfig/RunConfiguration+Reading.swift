internal import Foundation
internal import TransfusionSupport
internal import Yams

extension RunConfiguration {
    /// Reads a configuration file.
    /// - Parameters:
    ///   - path: The YAML file.
    ///   - overrides: `key=value` each, where the value is YAML; applied after the file, one after the other.
    ///   - describe: Opens the model of `model.initial_weights` for a configuration without sizes, which then has the model's.
    ///     With nil such a configuration is refused.
    /// - Throws: `ConfigurationError` with all problems, each with its file and line.
    public static func load(
        _ path: String, overrides: [String] = [], describe: ((RunConfiguration) throws -> DescribedModel?)? = nil
    ) throws(ConfigurationError) -> RunConfiguration {
        let text: String
        do {
            text = try BoundedYAML.text(ofFile: path)
        } catch {
            throw ConfigurationError(problems: [error])
        }
        let name = runName(ofFile: Paths.stem(of: path))
        return try RunConfiguration(
            yaml: text, file: path, defaultName: name, overrides: overrides, describe: describe)
    }

    /// Reads a configuration from the text of a file.
    /// - Parameters:
    ///   - file: Stands for the text in error messages.
    ///   - defaultName: The run's name unless the text gives one.
    ///   - describe: As for `load`.
    /// - Throws: `ConfigurationError` with all problems.
    public init(
        yaml: String, file: String = "configuration", defaultName: String = "run", overrides: [String] = [],
        describe: ((RunConfiguration) throws -> DescribedModel?)? = nil
    ) throws(ConfigurationError) {
        var reader = ConfigurationReader(file: file)
        reader.configuration.name = defaultName
        reader.read(yaml)
        reader.apply(overrides)
        if reader.problems.isEmpty, let describe { reader.takeSizes(describe) }
        if reader.problems.isEmpty { reader.requireCompleteness() }
        guard reader.problems.isEmpty else { throw ConfigurationError(problems: reader.problems) }
        self = reader.configuration
    }
}

/// Collects the values of a configuration and all problems with them.
private struct ConfigurationReader {
    /// So many problems are reported at most.
    private static let mostProblems = 50

    let file: String
    var configuration = RunConfiguration()
    var problems: [ConfigurationProblem] = []
    private var keysRead: Set<String> = []

    private static let keys = Dictionary(uniqueKeysWithValues: ConfigurationKey.all.map { ($0.path, $0) })
    /// Every prefix of a key that ends before a dot.
    private static let sections = Set(
        ConfigurationKey.all.flatMap { key in
            key.path.indices.filter { key.path[$0] == "." }.map { String(key.path[..<$0]) }
        })

    init(file: String) {
        self.file = file
    }

    mutating func read(_ yaml: String) {
        do {
            guard let root = try BoundedYAML.compose(yaml, at: file) else { return }
            var values: [String: Node] = [:]
            collect(root, path: "", into: &values)
            // In the order of the table, so that a preset comes before the sizes that override it.
            for key in ConfigurationKey.all {
                if let node = values[key.path] { set(key, to: node, at: origin(node)) }
            }
        } catch {
            problems.append(error)
        }
    }

    mutating func apply(_ overrides: [String]) {
        for override in overrides {
            let origin = "--set \(override)"
            guard let equals = override.firstIndex(of: "="), equals > override.startIndex else {
                problems.append(ConfigurationProblem(nil, "must have the form key=value", at: origin))
                continue
            }
            let path = String(override[..<equals])
            guard let key = Self.keys[path] else {
                problems.append(ConfigurationProblem(path, unknown(path), at: origin))
                continue
            }
            do {
                let node = try BoundedYAML.compose(String(override[override.index(after: equals)...]), at: origin)
                set(key, to: node ?? Node(""), at: origin)
            } catch {
                problems.append(error)
            }
        }
    }

    /// Takes what no key says of the model from the one that the run starts from, if the file names no size at all.
    mutating func takeSizes(_ describe: (RunConfiguration) throws -> DescribedModel?) {
        let sizes = ["model.preset", "model.layers", "model.width", "model.heads"]
        guard configuration.task == .transfusion, keysRead.isDisjoint(with: sizes),
            configuration.model.initialWeights != nil
        else { return }
        do {
            guard let model = try describe(configuration) else { return }
            configuration.model.take(model) { [keysRead] in !keysRead.contains("model." + $0) }
        } catch {
            problems.append(ConfigurationProblem("model.initial_weights", "\(error)", at: file))
        }
    }

    mutating func requireCompleteness() {
        for key in ConfigurationKey.all where key.defaultValue == nil && !keysRead.contains(key.path) {
            problems.append(ConfigurationProblem(key.path, "is needed: \(key.summary)", at: file))
        }
        let task = configuration.task
        for key in ConfigurationKey.all where keysRead.contains(key.path) && (key.task ?? task) != task {
            problems.append(
                ConfigurationProblem(key.path, "is no key of task: \(task.rawValue); leave it away", at: file))
        }
        let model = configuration.model
        for (name, size) in [("layers", model.layers), ("width", model.width), ("heads", model.heads)]
        where size == 0 && task == .transfusion {
            problems.append(
                ConfigurationProblem(
                    "model.\(name)",
                    "is needed, because there is no model.preset (tiny, 0.16b …)"
                        + (model.initialWeights == nil ? "" : ", and model.initial_weights gives all sizes or none"),
                    at: file))
        }
        let data = configuration.data
        if data.path.isEmpty, data.sources.isEmpty {
            problems.append(
                ConfigurationProblem("data.path", "is needed: \(RunConfiguration.pathSummary)", at: file))
        }
        if problems.isEmpty { problems = configuration.problems().map { add(file, to: $0) } }
    }

    private func add(_ origin: String, to problem: ConfigurationProblem) -> ConfigurationProblem {
        var problem = problem
        problem.origin = origin
        return problem
    }

    /// Finds the values of all known keys below `node`, and what is no key.
    private mutating func collect(_ node: Node, path: String, into values: inout [String: Node]) {
        if Self.keys[path] != nil {
            values[path] = node
        } else if case .mapping(let mapping) = node {
            for (name, value) in mapping where problems.count < Self.mostProblems {
                guard let name = name.scalar?.string else {
                    problems.append(
                        ConfigurationProblem(path.isEmpty ? nil : path, "a key must be a word", at: origin(name)))
                    continue
                }
                let child = path.isEmpty ? name : "\(path).\(name)"
                if Self.keys[child] == nil && !Self.sections.contains(child) {
                    problems.append(ConfigurationProblem(child, unknown(child), at: origin(nodeOf: name, in: mapping)))
                } else {
                    collect(value, path: child, into: &values)
                }
            }
        } else if case .scalar(let scalar) = node, scalar.string.isEmpty {
            // A section whose keys are all commented out.
        } else {
            let what = path.isEmpty ? "a configuration is made of sections and keys" : "is a section with keys below it"
            problems.append(ConfigurationProblem(path.isEmpty ? nil : path, what, at: origin(node)))
        }
    }

    private mutating func set(_ key: ConfigurationKey, to node: Node, at origin: String) {
        keysRead.insert(key.path)
        do {
            try key.read(node, &configuration)
        } catch {
            problems.append(ConfigurationProblem(key.path, error.message, at: origin))
        }
    }

    private func origin(_ node: Node) -> String {
        node.mark.map { "\(file):\($0.line)" } ?? file
    }

    private func origin(nodeOf name: String, in mapping: Node.Mapping) -> String {
        mapping.keys.first { $0.scalar?.string == name }.map(origin) ?? file
    }

    /// What to say of a key that does not exist.
    private func unknown(_ path: String) -> String {
        if Self.sections.contains(path), let key = ConfigurationKey.all.first(where: { $0.path.hasPrefix(path + ".") })
        {
            return "is a section; set its keys one by one, as in \(key.path)=…"
        }
        let known = ConfigurationKey.all.map(\.path) + Self.sections.sorted()
        let ending = path.split(separator: ".").last.map(String.init) ?? path
        let elsewhere = known.filter { $0 == ending || $0.hasSuffix("." + ending) }
        let section = path.lastIndex(of: ".").map { String(path[...$0]) } ?? ""
        // Who knows the section seeks the key in the wrong one, and a key of every run more likely than another.
        let ofEveryRun = elsewhere.first { Self.keys[$0]?.task == nil }
        let moved = Self.sections.contains(String(section.dropLast())) ? ofEveryRun : nil
        if let meant = moved ?? nearestName(to: path, among: known) ?? elsewhere.first {
            return "there is no such key; did you mean \(meant)?"
        }
        let siblings = known.filter { $0.hasPrefix(section) && !$0.dropFirst(section.count).contains(".") }
        return "there is no such key; there are \(siblings.joined(separator: ", "))"
    }
}
