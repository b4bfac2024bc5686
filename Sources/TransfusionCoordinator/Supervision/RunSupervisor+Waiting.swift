internal import TransfusionConfig
internal import TransfusionSupport

/// What makes launches impossible at the moment, since when, and how often that was found.
struct Obstacle {
    var cause: FailureCause
    /// On the monotonic clock.
    let since: Double
    var tries = 0
    var nextTry = 0.0
    /// The newest checkpoint when it was met.
    let checkpoint: Int?

    /// Whether ranks that train show that it is gone. Room is needed for the next checkpoint only.
    func isOver(checkpoint newest: Int?) -> Bool { cause.kind != .noRoom || newest != checkpoint }
}

extension RunSupervisor {
    /// Ends what is left of a launch, and waits until what stood in its way is gone, as far as a look can tell, or else for
    /// a time that grows from one launch to the next. Returns early when the run shall stop.
    /// - Throws: `CommandFailure` when processes of the launch do not end.
    func waitUntilPossible(_ cause: FailureCause) async throws(CommandFailure) {
        try await end(cause)
        state.launch = nil
        save()
        var obstacle = obstacle ?? Obstacle(cause: cause, since: MonotonicTime.seconds, checkpoint: checkpoints.step)
        var remaining: FailureCause? = cause
        phase = .waiting
        while let cause = remaining, !isAskedToStop {
            obstacle.cause = cause
            obstacle.tries += 1
            let wait = max(1, RestartBudget.wait(obstacle.tries, from: configuration.supervision.backoff))
            obstacle.nextTry = MonotonicTime.seconds + wait
            self.obstacle = obstacle
            if obstacle.tries == 1 { log("waiting, as a launch is impossible now: \(cause.summary)") }
            refresh(force: true)
            await pause(wait, nil)
            let bytes = cause.kind == .noRoom ? checkpoints.status?.bytes ?? 0 : 0
            remaining = cause.record.flatMap {
                LaunchObstacle.remains($0, directory: directory.path, bytes: bytes)?.cause
            }
        }
    }

    /// What the status says of it.
    var obstacleStatus: RunStatus.Obstacle? {
        guard phase == .waiting, let obstacle else { return nil }
        let now = MonotonicTime.seconds
        return RunStatus.Obstacle(
            cause: obstacle.cause, seconds: now - obstacle.since, tries: obstacle.tries,
            nextTry: max(0, obstacle.nextTry - now))
    }
}
