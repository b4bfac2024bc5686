internal import TransfusionSupport
internal import Yams

extension Experiment {
    /// Reads the file of an experiment.
    /// - Throws: `ConfigurationError` with all problems, each with its file and line. The cells' configurations are not
    ///   looked at.
    public static func load(_ path: String) throws(ConfigurationError) -> Experiment {
        let text: String
        do {
            text = try BoundedYAML.text(ofFile: path)
        } catch {
            throw ConfigurationError(problems: [error])
        }
        return try Experiment(yaml: text, file: path)
    }

    /// Reads the text of such a file.
    /// - Parameter file: Where it lies: the base is sought from there.
    init(yaml: String, file: String) throws(ConfigurationError) {
        var reader = ExperimentReader(file: file)
        let experiment = reader.read(yaml)
        guard reader.problems.isEmpty, let experiment else { throw ConfigurationError(problems: reader.problems) }
        self = experiment
    }
}

/// Collects the parts of an experiment and all problems with them.
private struct ExperimentReader {
    private static let keys = ["title", "note", "base", "set", "seeds", "measures", "cells"]

    let file: String
    var problems: [ConfigurationProblem] = []

    mutating func read(_ yaml: String) -> Experiment? {
        let root: Node?
        do {
            root = try BoundedYAML.compose(yaml, at: file)
        } catch {
            problems.append(error)
            return nil
        }
        guard let root, let mapping = root.mapping else {
            problems.append(
                ConfigurationProblem(
                    nil, "an experiment has the keys \(Self.keys.joined(separator: ", "))", at: file))
            return nil
        }
        let parts = members(mapping, "", among: Self.keys)
        var experiment = Experiment(
            name: RunConfiguration.runName(ofFile: Paths.stem(of: file)), title: Paths.stem(of: file), base: "")
        if let title = parts["title"] { experiment.title = text(title, "title") }
        if let note = parts["note"] { experiment.note = text(note, "note") }
        if let base = parts["base"] {
            let path = text(base, "base")
            experiment.base = path.hasPrefix("/") ? path : Paths.join(Paths.parent(of: file), path)
        } else {
            refuse(root, "base", "is needed: the configuration that the cells differ from")
        }
        if let set = parts["set"] { experiment.overrides = overrides(set, "set") }
        if let seeds = parts["seeds"] { experiment.seeds = readSeeds(seeds) }
        if let measures = parts["measures"] { experiment.measures = readMeasures(measures) }
        if let cells = parts["cells"] {
            experiment.cells = readCells(cells)
        } else {
            refuse(root, "cells", "is needed: the runs that are compared, each {set: {…}, paper: {…}}")
        }
        return experiment
    }

    private mutating func readSeeds(_ node: Node) -> [Int] {
        let seeds = node.sequence.map { $0.map { $0.int ?? -1 } } ?? [-1]
        if seeds.isEmpty || seeds.count > Experiment.mostSeeds || seeds.contains(where: { $0 < 0 })
            || Set(seeds).count < seeds.count
        {
            refuse(
                node, "seeds", "must be a list of 1 to \(Experiment.mostSeeds) different whole numbers, as in [0, 1]")
        }
        return seeds
    }

    private mutating func readCells(_ node: Node) -> [Experiment.Cell] {
        guard let mapping = node.mapping, (1...Experiment.mostCells).contains(mapping.count) else {
            refuse(
                node, "cells", "must have 1 to \(Experiment.mostCells) names, each with what is different in that run")
            return []
        }
        return mapping.map { name, value in
            var cell = Experiment.Cell(name: name.scalar?.string ?? "")
            let path = "cells.\(cell.name)"
            if cell.name.isEmpty || cell.name != RunConfiguration.runName(ofFile: cell.name)
                || cell.name.count > Experiment.longestCellName
            {
                refuse(
                    name, path,
                    "a name has 1 to \(Experiment.longestCellName) letters, digits and . _ -, beginning with a letter or digit"
                )
            }
            guard let mapping = sectionMapping(value, path) else { return cell }
            let parts = members(mapping, path, among: ["set", "paper"])
            if let set = parts["set"] { cell.overrides = overrides(set, path + ".set") }
            if let paper = parts["paper"] { cell.published = numbers(paper, path + ".paper") }
            return cell
        }
    }

    private mutating func readMeasures(_ node: Node) -> [Experiment.Measure] {
        guard let mapping = node.mapping, mapping.count <= Experiment.mostMeasures else {
            refuse(
                node, "measures",
                "must have at most \(Experiment.mostMeasures) names, each with where its number comes from")
            return []
        }
        return mapping.compactMap { name, value in
            let path = "measures.\(name.scalar?.string ?? "")"
            guard let mapping = sectionMapping(value, path) else { return nil }
            let parts = members(mapping, path, among: ["record", "commands", "value"])
            guard let source = source(parts, path, at: value) else { return nil }
            return Experiment.Measure(name: text(name, path), source: source)
        }
    }

    private mutating func source(
        _ parts: [String: Node], _ path: String, at node: Node
    ) -> Experiment.Measure.Source? {
        switch (parts["record"], parts["commands"], parts["value"]) {
        case (let record?, nil, nil): return .record(text(record, path + ".record"))
        case (nil, let commands?, let value?):
            guard let list = commands.sequence, (1...Experiment.mostCommands).contains(list.count) else {
                refuse(commands, path + ".commands", "must be a list of 1 to \(Experiment.mostCommands) commands")
                return nil
            }
            let names = text(value, path + ".value").split(separator: ".").map(String.init)
            if names.isEmpty { refuse(value, path + ".value", "must name a number in the JSON, as in scores.cider") }
            return .commands(list.compactMap { command($0, path + ".commands") }, value: names)
        default:
            refuse(
                node, path,
                "must be {record: a field of metrics.jsonl} or {commands: [a list], value: a name in the JSON of the last}"
            )
            return nil
        }
    }

    /// The words of a command: a text that is cut at spaces, or a list.
    private mutating func command(_ node: Node, _ path: String) -> [String]? {
        let words: [String]
        if let list = node.sequence {
            words = list.map { $0.scalar?.string ?? "" }
        } else {
            words = (node.scalar?.string ?? "").split(separator: " ").map(String.init)
        }
        guard let program = words.first, Experiment.programs.contains(program) else {
            refuse(node, path, "a command begins with \(Experiment.programs.joined(separator: ", "))")
            return nil
        }
        for word in words {
            for match in word.matches(of: /\{[^{}]*\}/) where !Experiment.placeholders.contains(String(match.0)) {
                refuse(
                    node, path,
                    "there is no \(match.0); there are \(Experiment.placeholders.joined(separator: ", "))")
            }
        }
        return words
    }

    /// Differences of a configuration, in the form of `--set`.
    private mutating func overrides(_ node: Node, _ path: String) -> [String] {
        guard let mapping = sectionMapping(node, path) else { return [] }
        return mapping.map { key, value in "\(key.scalar?.string ?? "")=\(YAMLText.flow(value))" }
    }

    private mutating func numbers(_ node: Node, _ path: String) -> [String: Double] {
        guard let mapping = sectionMapping(node, path) else { return [:] }
        var result: [String: Double] = [:]
        for (name, value) in mapping {
            guard let number = value.float, number.isFinite, let name = name.scalar?.string, !name.isEmpty else {
                refuse(value, path, "must have names with numbers, as in {FID: 16.8}")
                continue
            }
            result[name] = number
        }
        return result
    }

    private mutating func text(_ node: Node, _ path: String) -> String {
        if let text = node.scalar?.string, !text.isEmpty { return text }
        refuse(node, path, "must be a text")
        return ""
    }

    /// A mapping; empty where nothing is given.
    private mutating func sectionMapping(_ node: Node, _ path: String) -> Node.Mapping? {
        if let mapping = node.mapping { return mapping }
        if node.scalar?.string.isEmpty == false || node.scalar == nil {
            refuse(node, path, "must be of the form {…: …}")
        }
        return node.scalar?.string.isEmpty == true ? Node.Mapping([]) : nil
    }

    private mutating func members(_ mapping: Node.Mapping, _ path: String, among known: [String]) -> [String: Node] {
        var result: [String: Node] = [:]
        for (name, value) in mapping {
            let key = name.scalar?.string ?? ""
            if known.contains(key) {
                result[key] = value
            } else {
                let full = path.isEmpty ? key : "\(path).\(key)"
                let remedy =
                    nearestName(to: key, among: known).map { "did you mean \($0)?" }
                    ?? "there are \(known.joined(separator: ", "))"
                refuse(name, full, "there is no such key; \(remedy)")
            }
        }
        return result
    }

    private mutating func refuse(_ node: Node, _ key: String, _ message: String) {
        guard problems.count < 50 else { return }
        problems.append(ConfigurationProblem(key, message, at: node.mark.map { "\(file):\($0.line)" } ?? file))
    }
}
