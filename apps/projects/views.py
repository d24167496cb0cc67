from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBadRequest, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from apps.accounts.access import AUDITING_ROLES, MANAGING_ROLES, get_organization_for_user
from apps.accounts.models import OrganizationMember
from apps.audit.models import AuditEvent
from apps.audit.selectors import AUDIT_COLUMNS, audit_rows
from apps.audit.services import record_download
from apps.common.forms import PeriodForm, add_errors
from apps.common.requests import AuthenticatedRequest, posted
from apps.common.tables import table_response
from apps.projects.access import check_may_cancel, get_project_for_user, permissions_of
from apps.projects.files import EXPORT_KEPT, export_archive
from apps.projects.forms import (
    PERMISSION_TEXT,
    ROLE_CHOICES,
    AuditFilterForm,
    LabelClassForm,
    LearningForm,
    MemberForm,
    NewMemberForm,
    NewProjectForm,
    ProjectForm,
    SampledAcceptanceForm,
)
from apps.projects.jobs import cancel_job
from apps.projects.models import Job, LabelClass, Project
from apps.projects.permissions import PERMISSIONS_BY_PROJECT_ROLE, Permission, ProjectRole
from apps.projects.selectors import (
    audit_events,
    audited_actions,
    audited_people,
    broken_plugins,
    highest_class_value,
    jobs_of,
    label_classes_of,
    listed_jobs,
    missing_plugins,
    organization_overseers,
    organization_trail,
    project_members,
    project_names,
    project_trail,
    projects_by_organization,
    settings_to_show,
)
from apps.projects.services import (
    PALETTE,
    add_label_class,
    add_project_member,
    allow_sampled_acceptance,
    create_project,
    remove_project_member,
    update_label_class,
    update_project,
    update_project_learning,
    update_project_member,
)

# Of an iteration's seconds, as they follow each other: JSON in the database is sorted by its keys.
STAGES = ("first_map", "second_map", "train", "measure", "recognize", "embed", "predict", "map")
JOBS_PER_PAGE = 20
RECORDS_PER_PAGE = 50
NO_SUCH_FILTER = "There is nothing to filter by like that."


@login_required
@require_GET
def project_list(request: AuthenticatedRequest) -> HttpResponse:
    return render(
        request,
        "projects/list.html",
        {
            "organizations": projects_by_organization(request.user),
            "managing_roles": MANAGING_ROLES,
            "auditing_roles": AUDITING_ROLES,
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def project_create(request: AuthenticatedRequest, organization_id: int) -> HttpResponse:
    organization = get_organization_for_user(request.user, organization_id, to_manage=True)
    form = NewProjectForm(posted(request))
    if form.is_valid():
        try:
            project = create_project(organization=organization, created_by=request.user, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"{project} is ready for its images.")
            return redirect("project_overview", project.pk)
    return render(
        request, "projects/create.html", {"organization": organization, "form": form}, status=_status_of(form)
    )


@login_required
@require_http_methods(["GET", "POST"])
def project_settings(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.EDIT_PROJECT)
    fields = ("name", "description", "patch_size_px", "encoder_size_px")
    form = ProjectForm(posted(request), initial={field: getattr(project, field) for field in fields})
    if form.is_valid():
        try:
            update_project(project=project, updated_by=request.user, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "The settings are saved.")
            return redirect("project_settings", project.pk)
    return _render_settings(request, project, form=form)


@login_required
@require_http_methods(["GET", "POST"])
def project_learning(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """The settings page; to htmx, which asks with another approach, the form of how the project learns with that one's
    settings, nothing saved yet."""
    project = get_project_for_user(request.user, project_id, needs=Permission.EDIT_PROJECT)
    form = _learning_form(project, posted(request), approach_name=request.GET.get("approach", ""))
    if request.method == "GET" and request.htmx:
        return render_project_page(request, project, "projects/_learning.html", {"learning_form": form})
    if request.method == "POST" and form.is_valid():
        try:
            update_project_learning(project=project, learning=form.learning(), updated_by=request.user)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "Saved. The next training learns this way.")
            return redirect("project_settings", project.pk)
    return _render_settings(request, project, learning_form=form)


@login_required
@require_POST
def project_sampled(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """Allow labels by sample, or stop allowing them."""
    project = get_project_for_user(request.user, project_id, needs=Permission.ALLOW_SAMPLED)
    form = SampledAcceptanceForm(request.POST, auto_id="sampled_%s")
    if form.is_valid():
        project = allow_sampled_acceptance(
            project=project,
            allowed=form.cleaned_data["allowed"],
            max_error=form.cleaned_data["max_error_percent"] / 100,
            changed_by=request.user,
        )
        state = "allowed" if project.allows_sampled else "not allowed"
        messages.success(request, f"Labels by sample are {state} in this project.")
        return redirect("project_settings", project.pk)
    return _render_settings(request, project, sampled_form=form)


@login_required
@require_POST
def label_class_add(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.EDIT_PROJECT)
    form = LabelClassForm(request.POST, auto_id="new_%s")
    if form.is_valid():
        try:
            label_class = add_label_class(project=project, added_by=request.user, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"The class {label_class} is added.")
            return redirect("project_settings", project.pk)
    return _render_settings(request, project, new_class_form=form)


@login_required
@require_http_methods(["GET", "POST"])
def label_class_edit(request: AuthenticatedRequest, project_id: int, value: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.EDIT_PROJECT)
    label_class = get_object_or_404(LabelClass, project=project, value=value)
    fields = ("name", "color", "is_uncertain", "is_non_object")
    form = LabelClassForm(posted(request), initial={field: getattr(label_class, field) for field in fields})
    if form.is_valid():
        try:
            update_label_class(label_class=label_class, updated_by=request.user, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "The class is saved.")
            return redirect("project_settings", project.pk)
    return render_project_page(
        request,
        project,
        "projects/label_class.html",
        {"form": form, "label_class": label_class, "tab": "settings"},
        status=_status_of(form),
    )


@login_required
@require_http_methods(["GET", "POST"])
def project_member_list(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    needs = Permission.MANAGE_MEMBERS if request.method == "POST" else Permission.VIEW
    project = get_project_for_user(request.user, project_id, needs=needs)
    form = NewMemberForm(posted(request), project=project)
    if form.is_valid():
        try:
            member = add_project_member(project=project, added_by=request.user, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"{member.user} is now a member.")
            return redirect("project_members", project.pk)
    return render_project_page(
        request,
        project,
        "projects/members.html",
        {
            "form": form,
            "members": project_members(project),
            "overseers": organization_overseers(project),
            "roles": ROLE_CHOICES,
            "permission_table": [
                (text, [permission in PERMISSIONS_BY_PROJECT_ROLE[role] for role in ProjectRole])
                for permission, text in PERMISSION_TEXT.items()
            ],
            "role_names": [role.label for role in ProjectRole],
            "manages_organization": OrganizationMember.objects.filter(
                organization_id=project.organization_id, user=request.user, role__in=MANAGING_ROLES
            ).exists(),
            "tab": "members",
        },
        status=_status_of(form),
    )


@login_required
@require_http_methods(["GET", "POST"])
def project_member_edit(request: AuthenticatedRequest, project_id: int, member_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.MANAGE_MEMBERS)
    member = get_object_or_404(project_members(project), pk=member_id)
    initial = {
        "role": member.role,
        **dict.fromkeys(member.grants, "grant"),
        **dict.fromkeys(member.denials, "deny"),
    }
    form = MemberForm(posted(request), initial=initial)
    if form.is_valid():
        try:
            update_project_member(
                member=member,
                role=form.cleaned_data["role"],
                grants=form.chosen("grant"),
                denials=form.chosen("deny"),
                updated_by=request.user,
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"What {member.user} may do is saved.")
            return _back_to_members(request, project)
    return render_project_page(
        request,
        project,
        "projects/member.html",
        {"form": form, "member": member, "tab": "members"},
        status=_status_of(form),
    )


@login_required
@require_POST
def project_member_remove(request: AuthenticatedRequest, project_id: int, member_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.MANAGE_MEMBERS)
    member = get_object_or_404(project_members(project), pk=member_id)
    remove_project_member(member=member, removed_by=request.user)
    messages.success(request, f"{member.user} is no longer a member. Their labels stay.")
    return _back_to_members(request, project)


@login_required
@require_GET
@vary_on_headers("HX-Request")
def job_list(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """The jobs page; to htmx, which asks again at each job event, only the table."""
    project = get_project_for_user(request.user, project_id)
    # A picture that was searched with took a second, and left nothing.
    jobs = listed_jobs(project).exclude(kind="picture", state=Job.State.FINISHED)
    page = Paginator(jobs, JOBS_PER_PAGE).get_page(request.GET.get("page"))
    template = "projects/_jobs_table.html" if request.htmx else "projects/jobs.html"
    return render_project_page(request, project, template, {"page": page, "tab": "jobs"})


@login_required
@require_GET
@vary_on_headers("HX-Request")
def job_detail(request: AuthenticatedRequest, project_id: int, job_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id)
    job = get_object_or_404(jobs_of(project), pk=job_id)
    template = "projects/_job.html" if request.htmx else "projects/job.html"
    spent = job.result.get("seconds", {})
    context = {
        "job": job,
        "tab": "jobs",
        "seconds": [(stage.replace("_", " "), spent[stage]) for stage in STAGES if stage in spent],
        "has_archive": export_archive(job).exists(),
        "kept_days": EXPORT_KEPT.days,
    }
    return render_project_page(request, project, template, context)


@login_required
@require_POST
def job_cancel(request: AuthenticatedRequest, project_id: int, job_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id)
    job = get_object_or_404(jobs_of(project), pk=job_id)
    check_may_cancel(request.user, job)
    if cancel_job(job=job, cancelled_by=request.user):
        messages.success(request, f"{job.title} {job.pk} is being cancelled.")
    else:
        messages.info(request, f"{job.title} {job.pk} had ended already.")
    return redirect("job_detail", project.pk, job.pk)


@login_required
@require_GET
def project_audit(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.VIEW_AUDIT)
    form, events = _filtered(request, project_trail(project))
    return render_project_page(request, project, "projects/audit.html", trail_page(request, form, events, tab="audit"))


@login_required
@require_GET
def project_audit_table(request: AuthenticatedRequest, project_id: int) -> HttpResponseBase:
    """What the page shows, all of it, as a CSV file."""
    project = get_project_for_user(request.user, project_id, needs=Permission.VIEW_AUDIT)
    form, events = _filtered(request, project_trail(project))
    if form.errors:
        return HttpResponseBadRequest(NO_SUCH_FILTER)
    record_download(
        actor=request.user,
        what="events",
        organization_id=project.organization_id,
        project_id=project.pk,
        query=request.GET.urlencode(),
    )
    return table_response(f"audit-project-{project.pk}.csv", AUDIT_COLUMNS, audit_rows(events))


@login_required
@require_GET
def organization_audit(request: AuthenticatedRequest, organization_id: int) -> HttpResponse:
    """Accounts, members, sign-ins and all projects of an organization, for whoever runs or audits it."""
    organization = get_organization_for_user(request.user, organization_id, to_audit=True)
    form, events = _filtered(request, organization_trail(organization, request.user))
    context = trail_page(request, form, events, organization=organization, names=project_names(organization))
    return render(request, "projects/organization_audit.html", context)


@login_required
@require_GET
def organization_audit_table(request: AuthenticatedRequest, organization_id: int) -> HttpResponseBase:
    organization = get_organization_for_user(request.user, organization_id, to_audit=True)
    form, events = _filtered(request, organization_trail(organization, request.user))
    if form.errors:
        return HttpResponseBadRequest(NO_SUCH_FILTER)
    record_download(
        actor=request.user,
        what="events",
        organization_id=organization.pk,
        project_id=None,
        query=request.GET.urlencode(),
    )
    return table_response(f"audit-organization-{organization.pk}.csv", AUDIT_COLUMNS, audit_rows(events))


def _filtered(
    request: AuthenticatedRequest, trail: QuerySet[AuditEvent]
) -> tuple[AuditFilterForm, QuerySet[AuditEvent]]:
    form = AuditFilterForm(request.GET or None, actions=audited_actions(trail), people=audited_people(trail))
    chosen: dict[str, Any] = form.cleaned_data if form.is_valid() else {}
    since, until = form.period
    actor = chosen.get("actor")
    action = chosen.get("action", "")
    return form, audit_events(trail, action=action, actor_id=actor.pk if actor else None, since=since, until=until)


def trail_page(request: AuthenticatedRequest, form: PeriodForm, records: QuerySet[Any], **more: Any) -> dict[str, Any]:
    """What `_trail_filter.html` and a page of a trail need: its `page` of records, and the `query` by which the same is had as a file."""
    page = Paginator(records, RECORDS_PER_PAGE).get_page(request.GET.get("page"))
    filtered = form.is_valid() and any(form.cleaned_data.values())
    return {"page": page, "form": form, "filtered": filtered, "query": request.GET.urlencode(), **more}


def _render_settings(
    request: AuthenticatedRequest,
    project: Project,
    *,
    form: ProjectForm | None = None,
    new_class_form: LabelClassForm | None = None,
    sampled_form: SampledAcceptanceForm | None = None,
    learning_form: LearningForm | None = None,
) -> HttpResponse:
    fields = ("name", "description", "patch_size_px", "encoder_size_px")
    next_color = PALETTE[highest_class_value(project) % len(PALETTE)]
    return render_project_page(
        request,
        project,
        "projects/settings.html",
        {
            "form": form or ProjectForm(initial={field: getattr(project, field) for field in fields}),
            "new_class_form": new_class_form or LabelClassForm(initial={"color": next_color}, auto_id="new_%s"),
            "sampled_form": sampled_form
            or SampledAcceptanceForm(
                initial={"allowed": project.allows_sampled, "max_error_percent": 100 * project.max_sampled_error},
                auto_id="sampled_%s",
            ),
            "learning_form": learning_form or _learning_form(project),
            "broken_plugins": broken_plugins() + missing_plugins(project),
            "label_classes": label_classes_of(project),
            "tab": "settings",
        },
        status=max(_status_of(form), _status_of(new_class_form), _status_of(sampled_form), _status_of(learning_form)),
    )


def _learning_form(project: Project, data: QueryDict | None = None, *, approach_name: str = "") -> LearningForm:
    """The form for the project's approach, or for another that was asked for or posted."""
    asked_for = data.get("approach", "") if data is not None else approach_name
    approach, settings = settings_to_show(project, str(asked_for or project.approach))
    return LearningForm(
        data,
        approach=approach,
        settings=settings,
        reducer=project.reducer,
        map_shows_labels=project.map_shows_labels,
        classifier=project.classifier,
    )


def render_project_page(
    request: AuthenticatedRequest, project: Project, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """A page about the project, with what its person may do there."""
    shared = {"project": project, "permissions": permissions_of(request.user, project)}
    return render(request, template, shared | context, status=status)


def _back_to_members(request: AuthenticatedRequest, project: Project) -> HttpResponse:
    """To the members page, or home for somebody who has just taken themselves off the project."""
    if Permission.VIEW in permissions_of(request.user, project):
        return redirect("project_members", project.pk)
    return redirect("project_list")


def _status_of(form: Any) -> int:
    return 422 if form is not None and form.errors else 200
