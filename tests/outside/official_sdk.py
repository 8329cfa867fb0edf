"""The official Python SDK reads the simulated Asana as it reads the real one: in pages, one by one, and refused."""

import json
from collections import Counter

import asana
from asana.rest import ApiException

from world import hold, run_check, simulator

PAGE = 7


def client(base_url, token):
    """The SDK as its manual starts it, with another host and no retries of its own."""
    configuration = asana.Configuration()
    configuration.host = base_url
    configuration.access_token = token
    configuration.return_page_iterator = True
    configuration.retry_strategy = None
    return asana.ApiClient(configuration)


def hears(world, api, project, tasks):
    """The SDK hears of edits: it takes the token of its first 412 by itself, and goes on with what it is answered.

    Its iterator repeats its token where there is more than one answer's worth, so those are asked for one by one.
    """
    events, workspaces = asana.EventsApi(api), asana.WorkspacesApi(api)
    hold(list(events.get_events(project, {})) == [], "a stream that just began has told something")
    tokens = {}
    for what, ask in (("project", events.get_events), ("workspace", workspaces.get_workspace_events)):
        gid = project if what == "project" else world.organization
        try:
            ask(gid, {}, full_payload=True)
        except ApiException as refused:
            hold(refused.status == 412, f"events of a {what} without a token: {refused.status}, not 412")
            tokens[what] = ask, gid, json.loads(refused.body)["sync"]
        else:
            hold(False, f"events of a {what} are told without a token")
    for place in range(60):
        world.edit("rename_task", tasks[place % len(tasks)], f"heard {place}")
    found = {}
    for what, (ask, gid, sync) in tokens.items():
        found[what], more = [], True
        while more:
            answer = ask(gid, {"sync": sync}, full_payload=True)
            found[what] += answer["data"]
            sync, more = answer["sync"], answer["has_more"]
        heard = {one["resource"]["gid"] for one in found[what] if one["action"] == "changed"}
        hold(heard == set(tasks), f"the {what} heard of {len(heard)} renamed tasks, not of {len(tasks)}")
    hold(len(found["project"]) == 120, f"60 renamed tasks and their stories are {len(found['project'])} events")
    return f"hears {len(found['project'])} events of a project and {len(found['workspace'])} of the workspace"


def gids(records):
    return sorted(record["gid"] for record in records)


def check():
    with simulator("small", more=("--event-delay", "0")) as world:
        api = client(world.base_url, world.token)
        organization = world.organization
        said = []

        def truth(table):
            return world.truth(table)

        def lists(what, found, expected):
            """A list brings each record of the truth once, over several pages where there are several."""
            before = len(world.log())
            found = list(found)
            pages = len(world.log()) - before
            hold(gids(found) == gids(expected), f"{what}: {len(found)} records listed, {len(expected)} in truth")
            least = -(-len(expected) // PAGE)
            hold(pages >= least, f"{what}: {len(expected)} records came in {pages} pages, not {least} of {PAGE}")
            said.append(f"{len(found)} {what} in {pages} pages")
            return found

        # The SDK keeps the offset in the dictionary it is given: every list gets its own.
        page = {"limit": PAGE}
        found = list(asana.WorkspacesApi(api).get_workspaces({**page, "opt_fields": "name,is_organization"}))
        hold(organization in [one["gid"] for one in found], "the organization is missing among the workspaces")
        mine = next(one for one in found if one["gid"] == organization)
        hold(mine["is_organization"] is True, "the organization does not say that it is one")
        one = asana.WorkspacesApi(api).get_workspace(organization, {})
        hold(one["name"] == mine["name"], "the workspace has one name in the list and another alone")

        lists("teams", asana.TeamsApi(api).get_teams_for_workspace(organization, dict(page)), truth("teams"))
        lists("users", asana.UsersApi(api).get_users({**page, "workspace": organization}), truth("users"))
        projects = lists(
            "projects", asana.ProjectsApi(api).get_projects_for_workspace(organization, dict(page)), truth("projects")
        )
        for compact in projects[:3]:
            hold(
                set(compact) == {"gid", "resource_type", "name"},
                f"project {compact['gid']}: without opt_fields a list answers gid, resource_type and name: {compact}",
            )

        tasks = truth("tasks")
        per_project = {}
        for task in tasks:
            for membership in task["memberships"]:
                per_project.setdefault(membership["project"]["gid"], []).append(task)
        largest = max(per_project, key=lambda gid: len(per_project[gid]))
        fields = {"opt_fields": "name,completed,assignee.name,memberships.project.name,memberships.section.name"}
        listed = lists(
            "tasks of a project",
            asana.TasksApi(api).get_tasks({**page, **fields, "project": largest}),
            per_project[largest],
        )
        known = {task["gid"]: task for task in tasks}
        for task in listed:
            expected = known[task["gid"]]
            for name in ("name", "completed"):
                hold(task[name] == expected[name], f"task {task['gid']}: {name} is not the truth's")
            hold(
                set(task) == {"gid", "name", "completed", "assignee", "memberships"},
                f"task {task['gid']}: opt_fields brings exactly what it names and the gid: {sorted(task)}",
            )
            wanted = expected["assignee"] and {"gid": expected["assignee"]["gid"], "name": expected["assignee"]["name"]}
            hold(
                task["assignee"] == wanted, f"task {task['gid']}: assignee.name is not the truth's: {task['assignee']}"
            )

        stories = {}
        for story in truth("stories"):
            stories.setdefault(story["target"]["gid"], []).append(story)
        told = max(stories, key=lambda gid: len(stories[gid]))
        found = lists("stories of a task", asana.StoriesApi(api).get_stories_for_task(told, dict(page)), stories[told])
        texts = {story["gid"]: story["text"] for story in stories[told]}
        for story in found:
            hold(story["text"] == texts[story["gid"]], f"story {story['gid']}: text is not the truth's")

        task = asana.TasksApi(api).get_task(listed[0]["gid"], {"opt_fields": "name,num_subtasks,html_notes"})
        expected = known[listed[0]["gid"]]
        for name in ("name", "num_subtasks", "html_notes"):
            hold(task[name] == expected[name], f"task {task['gid']}: {name} is not the truth's")
        project = asana.ProjectsApi(api).get_project(largest, {})
        hold(project["gid"] == largest and "html_notes" not in project, "a project alone comes without opt-in fields")
        story = asana.StoriesApi(api).get_story(found[0]["gid"], {})
        hold(story["target"]["gid"] == told, f"story {story['gid']} hangs below another task")
        user = asana.UsersApi(api).get_user("me", {"opt_fields": "name,email,workspaces.name"})
        hold(user["gid"].isdigit(), "`me` has a gid")

        # People who left keep their tasks, and have no list any more.
        assigned = Counter(task["assignee"]["gid"] for task in tasks if task["assignee"])
        busiest = max((user["gid"] for user in truth("users")), key=lambda gid: assigned[gid])
        task_list = asana.UserTaskListsApi(api).get_user_task_list_for_user(busiest, organization, {})
        hold(task_list["owner"]["gid"] == busiest, "a user task list belongs to its user")
        lists(
            "assigned tasks",
            asana.TasksApi(api).get_tasks_for_user_task_list(task_list["gid"], dict(page)),
            [task for task in tasks if task["assignee"] and task["assignee"]["gid"] == busiest],
        )

        portfolios = lists(
            "portfolios", asana.PortfoliosApi(api).get_portfolios(organization, dict(page)), truth("portfolios")
        )
        items = {}
        for row in truth("portfolio_items"):
            items.setdefault(row["portfolio"], []).append(row)
        for portfolio in portfolios:
            found = asana.PortfoliosApi(api).get_items_for_portfolio(portfolio["gid"], dict(page))
            hold(
                gids(found) == sorted(row["item"] for row in items.get(portfolio["gid"], [])),
                f"portfolio {portfolio['gid']}: its items are not the truth's",
            )
        said.append(f"{sum(map(len, items.values()))} items of portfolios")

        heard = hears(world, api, largest, [task["gid"] for task in listed[:9]])

        try:
            list(asana.UsersApi(client(world.base_url, "wrong")).get_users({"workspace": organization}))
        except ApiException as refused:
            hold(refused.status == 401, f"a wrong token is refused with {refused.status}, not 401")
            hold(b"errors" in refused.body, f"a 401 has no body of errors: {refused.body}")
        else:
            hold(False, "a wrong token is not refused")
        try:
            asana.TasksApi(api).get_task("1", {})
        except ApiException as refused:
            hold(refused.status == 404, f"an unknown task is refused with {refused.status}, not 404")
        else:
            hold(False, "an unknown task is not refused")
    return f"the official SDK lists {', '.join(said)}, reads one by one, {heard}, and is refused with 401 and 404"


if __name__ == "__main__":
    run_check(check)
